"""A server that speaks TLS in front of one that does not, with a certificate of its own CA."""

import asyncio
import contextlib
import ssl
import threading
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_CHUNK_BYTES = 1 << 16

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""PostgreSQL, "Message Formats": a client asks for TLS before it begins."""


class TlsProxy(AbstractContextManager["TlsProxy"]):
    """Accepts TLS on a loopback port and passes everything on to a Unix socket.

    A connection ends when either side ends it, and at once while the server is down.

    Args:
        server: The server's socket.
        folder: Where the certificates are kept.
        is_asked_first: Whether clients ask for TLS as those of PostgreSQL do.
    """

    def __init__(self, server: Path, folder: Path, *, is_asked_first: bool = False) -> None:
        self._server = str(server)
        self._is_asked_first = is_asked_first
        self.ca_file, self._context = make_certificates(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0
        self._first_number, self._number = 0, 0

    def silence(self) -> None:
        """Pass nothing on any more of the connections there are; none of them ends (half-open)."""
        self._first_number = self._number

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        context = None if self._is_asked_first else self._context
        self._listener = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=context
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._listener.close()
        # A connection that was just taken has a task only now.
        while open_connections := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection in open_connections:
                connection.cancel()
            await asyncio.gather(*open_connections, return_exceptions=True)
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            if self._is_asked_first:
                assert await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST
                writer.write(b"S")
                await writer.start_tls(self._context)
            server_reader, server_writer = await asyncio.open_unix_connection(self._server)
            with contextlib.closing(server_writer):
                self._number += 1
                number = self._number
                ways = [
                    asyncio.create_task(self._copy(number, reader, server_writer)),
                    asyncio.create_task(self._copy(number, server_reader, writer)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _copy(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if number > self._first_number:
                writer.write(data)
                await writer.drain()


def verified_url(url: str, proxy: TlsProxy, ca_file: Path, host: str = "localhost") -> str:
    """Return the address of a database behind the proxy, whose certificate is to be checked.

    Whatever the host is called, it is this machine.
    """
    given = urlsplit(url)
    account = f"{given.username}:{given.password}"
    where = f"{host}:{proxy.port}{given.path}?hostaddr=127.0.0.1"
    return f"postgresql://{account}@{where}&sslmode=verify-full&sslrootcert={ca_file}"


def make_certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a CA and a certificate of localhost; return the CA's file and a server's context."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_file.write_bytes(_pem(_certificate("tests CA", ca_key, "tests CA", ca_key, is_ca=True)))
    server = _certificate("localhost", server_key, "tests CA", ca_key, is_ca=False)
    server_file.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + _pem(server)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_file)
    return ca_file, context


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=is_ca,
                crl_sign=is_ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not is_ca:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
