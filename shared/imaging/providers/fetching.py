"""Fetches an image from an address that a provider answered with, from public addresses only.

The address is checked and pinned at each redirection: the connection goes to the address that was
checked, so a second answer of a name server cannot lead to a machine of this network.

The picture is paid for. So the address is asked again for a while before it is given up.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from shared import __version__
from shared.addresses import addresses_of, is_public
from shared.deadline import Deadline
from shared.errors import AttemptError
from shared.imaging.providers.bounded_body import UnreadableBody, bounded_body
from shared.imaging.providers.error_rules import CORRUPT, FETCH_TIMEOUT, NOT_FETCHED, UNUSABLE
from shared.imaging.providers.hanging_up import hanging_up

HOPS_MAX = 3
STEP_SECONDS = 15.0
PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)
"""Before an address is asked again: storage may know a new file a moment later."""

CHUNK_BYTES = 64 * 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_HEADERS = {"User-Agent": f"Darkroom/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}

_BUSY = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses of a server that may have the picture later; 404 is asked again, too."""

_WRITTEN = "!#$%&'()*+,/:;=?@[]~"
"""What stays as it is in an address; a blank or an umlaut is quoted (RFC 3986, section 2)."""


class _NotNowError(Exception):
    """The address may answer otherwise in a moment; `last` is raised if it does not."""

    def __init__(self, last: AttemptError) -> None:
        super().__init__()
        self.last = last


@dataclass(slots=True)
class _Route:
    """How one address is reached.

    Attributes:
        target: What the request line names.
    """

    connection: http.client.HTTPConnection
    target: str
    headers: dict[str, str] = field(default_factory=dict)


class ImageFetcher:
    """Gets the bytes behind an address.

    Args:
        base_url: What relative addresses begin with. Its host alone, under whichever name, may
            be in a private network: it is the API itself.
        bytes_max: The largest size of one image.
    """

    def __init__(self, base_url: str, bytes_max: int) -> None:
        self._base_url = base_url.rstrip("/") + "/"
        self._bytes_max = bytes_max

    def fetch(self, address: str, deadline: Deadline) -> bytes:
        """Return the bytes of the image.

        Raises:
            ProviderUnavailable: It cannot be fetched now.
            ProviderTimeout: It took too long.
            UnusableImage: It is too large, or the address leads nowhere or must not be fetched.
            CorruptImage: It is cut short.
            SoftTimeLimitReached: The deadline has passed.
        """
        for pause_seconds in PAUSES_SECONDS:
            try:
                return self._follow(address, deadline)
            except _NotNowError:
                time.sleep(deadline.timeout(pause_seconds))
        try:
            return self._follow(address, deadline)
        except _NotNowError as error:
            raise error.last from error

    def _follow(self, address: str, deadline: Deadline) -> bytes:
        try:
            url = urljoin(self._base_url, address.strip())
            for _ in range(HOPS_MAX + 1):
                route = self._route(urlsplit(quote(url, safe=_WRITTEN)), deadline)
                with closing(route.connection) as connection, hanging_up(deadline) as watch:
                    connection.request("GET", route.target, headers=_HEADERS | route.headers)
                    watch(connection.sock)
                    with connection.getresponse() as answer:
                        location = answer.headers["location"]
                        if answer.status not in _REDIRECTS or not location:
                            return self._read(answer, deadline)
                url = urljoin(url, location)
        except TimeoutError as error:
            late = FETCH_TIMEOUT.error("The picture's address did not answer in time")
            raise _NotNowError(late) from error
        except UnreadableBody as error:
            raise UNUSABLE.error(f"The picture at its address {error}") from error
        except (OSError, http.client.RemoteDisconnected) as error:
            raise _NotNowError(_unavailable(type(error).__name__)) from error
        except (ValueError, http.client.HTTPException) as error:
            raise _refused("its form is not allowed") from error
        raise _refused("too many redirections")

    def _route(self, parts: SplitResult, deadline: Deadline) -> _Route:
        host = parts.hostname
        if parts.scheme not in _PORTS or host is None or parts.username is not None:
            raise _refused("its form is not allowed")
        port = parts.port or _PORTS[parts.scheme]
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        proxy = None if proxy_bypass(f"{host}:{port}") else getproxies().get(parts.scheme)
        try:
            found = addresses_of(host, port)
        except socket.gaierror as error:
            # Of a proxy's network this machine may know no names.
            if not proxy:
                raise _unknown_host(error) from error
            found = []
        timeout = deadline.timeout(STEP_SECONDS)
        if proxy and not self._own(found):
            if not all(map(is_public, found)):
                raise _refused("it leads into a private network")
            return _through_proxy(urlsplit(proxy), parts, target, timeout)
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.default_port = _PORTS[parts.scheme]
        connection.sock = socket.create_connection((self._checked(found), port), timeout)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        return _Route(connection, target)

    def _checked(self, addresses: list[str]) -> str:
        if own := self._own(addresses):
            return own[0]
        if not all(map(is_public, addresses)):
            raise _refused("it leads into a private network")
        return addresses[0]

    def _own(self, addresses: list[str]) -> list[str]:
        """Return those addresses that are the API's own machine."""
        base = urlsplit(self._base_url)
        known: list[str] = []
        with suppress(socket.gaierror):
            known = addresses_of(base.hostname or "", base.port or _PORTS[base.scheme])
        is_here = any(map(_is_loopback, known))
        return [each for each in addresses if each in known or (is_here and _is_loopback(each))]

    def _read(self, answer: http.client.HTTPResponse, deadline: Deadline) -> bytes:
        if answer.status == HTTPStatus.NOT_FOUND:
            raise _NotNowError(_refused("it answered 404"))
        if answer.status in _BUSY:
            raise _NotNowError(_unavailable(f"it answered {answer.status}"))
        if answer.status != HTTPStatus.OK:
            raise _refused(f"it answered {answer.status}")
        encoding = answer.headers.get("content-encoding", "")
        data = b"".join(bounded_body(_pieces(answer), encoding, self._bytes_max, deadline))
        if answer.length:
            raise CORRUPT.error("The picture is cut short")
        return data


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := answer.read1(CHUNK_BYTES):
        yield chunk


def _through_proxy(proxy: SplitResult, parts: SplitResult, target: str, timeout: float) -> _Route:
    """Return the route over the proxy that the environment names, for which names it knows."""
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    headers = {}
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    place = proxy.hostname or "", proxy.port or 80
    if parts.scheme == "http":
        whole = parts._replace(fragment="").geturl()
        return _Route(http.client.HTTPConnection(*place, timeout=timeout), whole, headers)
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(*place, timeout=timeout, context=context)
    connection.set_tunnel(host, port, headers)
    return _Route(connection, target)


def _unknown_host(error: socket.gaierror) -> Exception:
    if error.errno == socket.EAI_AGAIN:
        return _NotNowError(_unavailable("no name server answers"))
    return _refused("its host is not known")


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


# The address itself may be signed: no message shows it.


def _unavailable(reason: str) -> AttemptError:
    return NOT_FETCHED.error(f"The picture cannot be fetched from its address: {reason}")


def _refused(reason: str) -> AttemptError:
    return UNUSABLE.error(f"The picture cannot be fetched from its address: {reason}")
