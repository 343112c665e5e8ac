"""Fetches an image from an address that a provider answered with, from public addresses only.

The address is checked and pinned at each redirection: the connection goes to the address that was
checked, so a second answer of a name server cannot lead to a machine of this network.
"""

import http.client
import ipaddress
import socket
import ssl
from contextlib import closing
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
        bytes_max: The largest size of one image.
    """

    def __init__(self, trusted_host: str | None, bytes_max: int) -> None:
        self._trusted_host = trusted_host
        self._bytes_max = bytes_max

    def fetch(self, url: str, deadline: Deadline) -> bytes:
        """Return the bytes of the image.

        Raises:
            ProviderUnavailable: It cannot be fetched, or its address is not allowed.
            ProviderTimeout: It took too long.
            CorruptImage: It is too large, or not an image by its type.
            SoftTimeLimitReached: The deadline has passed.
        """
        try:
            for _ in range(HOPS_MAX + 1):
                parts = urlsplit(url)
                with closing(self._connect(parts, deadline.timeout(STEP_SECONDS))) as connection:
                    target = parts._replace(scheme="", netloc="", fragment="").geturl()
                    connection.request("GET", target or "/")
                    with connection.getresponse() as answer:
                        location = answer.headers["location"]
                        if answer.status not in _REDIRECTS or not location:
                            return self._read(answer, deadline)
                    url = urljoin(url, location)
        except TimeoutError as error:
            raise FETCH_TIMEOUT.error("The picture's address did not answer in time") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _unavailable(type(error).__name__) from error
        raise _unavailable("too many redirections")

    def _connect(self, parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
        host = parts.hostname
        if parts.scheme not in _PORTS or host is None or parts.username is not None:
            raise _unavailable("its form is not allowed")
        port = parts.port or _PORTS[parts.scheme]
        connected = socket.create_connection((self._checked_address(host, port), port), timeout)
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.default_port = _PORTS[parts.scheme]
        connection.sock = connected
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connected, server_hostname=host)
        return connection

    def _checked_address(self, host: str, port: int) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _unavailable("its host is not known") from error
        addresses = [str(entry[4][0]) for entry in found]
        if host != self._trusted_host and not all(map(_is_public, addresses)):
            raise _unavailable("it leads into a private network")
        return addresses[0]

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


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    return bool(mapped.is_global and not mapped.is_multicast)


def _unavailable(reason: str) -> AttemptError:
    # The address itself may be signed: no message shows it.
    return NOT_FETCHED.error(f"The picture cannot be fetched from its address: {reason}")
