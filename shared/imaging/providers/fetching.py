"""Fetches a picture from an address that a provider answered with, from public addresses only.

The address is checked and pinned at each redirection: the connection goes to the address that was
checked, so a second answer of a name server cannot lead to a machine of this network.
"""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import SplitResult, urljoin, urlsplit

from shared.deadline import Deadline
from shared.errors import AttemptError
from shared.imaging.providers.error_rules import CORRUPT, FETCH_TIMEOUT, NOT_FETCHED

HOPS_MAX = 3
STEP_SECONDS = 15.0
CHUNK_BYTES = 64 * 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}


class ImageFetcher:
    """Gets the bytes behind an address.

    Args:
        trusted_host: The one host that may be in a private network: the API itself.
        bytes_max: Of one picture.
    """

    def __init__(self, trusted_host: str | None, bytes_max: int) -> None:
        self._trusted_host = trusted_host
        self._bytes_max = bytes_max

    def fetch(self, url: str, deadline: Deadline) -> bytes:
        """Return the picture's bytes.

        Raises:
            ProviderUnavailable: It cannot be fetched, or its address is not allowed.
            ProviderTimeout: It took too long.
            CorruptImage: It is too large, or not a picture by its type.
            SoftTimeLimitReached: The deadline has passed.
        """
        for _ in range(HOPS_MAX + 1):
            parts = urlsplit(url)
            connection = self._connect(parts, deadline)
            try:
                answer = self._ask(connection, parts)
                if answer.status in _REDIRECTS and answer.headers["location"]:
                    url = urljoin(url, answer.headers["location"])
                    continue
                return self._read(answer, deadline)
            except TimeoutError as error:
                raise FETCH_TIMEOUT.error("The picture's address did not answer in time") from error
            except (OSError, http.client.HTTPException) as error:
                raise _unavailable(type(error).__name__) from error
            finally:
                connection.close()
        raise _unavailable("too many redirections")

    def _connect(self, parts: SplitResult, deadline: Deadline) -> http.client.HTTPConnection:
        host = parts.hostname
        if parts.scheme not in _PORTS or host is None or parts.username is not None:
            raise _unavailable("its form is not allowed")
        port = parts.port or _PORTS[parts.scheme]
        address = self._checked_address(host, port)
        timeout = deadline.timeout(STEP_SECONDS)
        return _PinnedConnection(host, port, address, timeout, is_secure=parts.scheme == "https")

    def _checked_address(self, host: str, port: int) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _unavailable("its host is not known") from error
        addresses: Sequence[str] = [str(entry[4][0]) for entry in found]
        if host != self._trusted_host and not all(_is_public(address) for address in addresses):
            raise _unavailable("it leads into a private network")
        return addresses[0]

    def _ask(
        self, connection: http.client.HTTPConnection, parts: SplitResult
    ) -> http.client.HTTPResponse:
        target = parts.path or "/"
        connection.request("GET", f"{target}?{parts.query}" if parts.query else target)
        return connection.getresponse()

    def _read(self, answer: http.client.HTTPResponse, deadline: Deadline) -> bytes:
        if answer.status != http.HTTPStatus.OK:
            raise _unavailable(f"it answered {answer.status}")
        media_type = answer.headers.get_content_type()
        if not media_type.startswith("image/") and media_type != "application/octet-stream":
            raise CORRUPT.error(f"The picture's address sent {media_type}")
        data = bytearray()
        while chunk := answer.read1(CHUNK_BYTES):
            deadline.check()
            data += chunk
            if len(data) > self._bytes_max:
                raise CORRUPT.error(f"The picture has more than {self._bytes_max} bytes")
        if answer.length:
            raise CORRUPT.error("The picture is cut short")
        return bytes(data)


class _PinnedConnection(http.client.HTTPConnection):
    """A connection to an address that was checked, under the name of its host."""

    def __init__(
        self, host: str, port: int, address: str, timeout: float, *, is_secure: bool
    ) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address = address
        self._is_secure = is_secure
        self.default_port = _PORTS["https" if is_secure else "http"]

    def connect(self) -> None:
        """Connect to the pinned address; TLS checks the name."""
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._is_secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    return bool(mapped.is_global and not mapped.is_multicast)


def _unavailable(reason: str) -> AttemptError:
    # The address itself may be signed: no message shows it.
    return NOT_FETCHED.error(f"The picture cannot be fetched from its address: {reason}")
