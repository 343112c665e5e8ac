"""What every request passes, whichever route it is for: limits, headers, a line in the log.

Plain ASGI around the whole application: a middleware class of the framework would cost each
open event stream kilobytes.
"""

import re
import time
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.access.trusted_networks import TrustedNetworks
from shared.api.problems import problem
from shared.settings import Settings

BODY_MAX_BYTES = 256 * 1024
"""Four times what the longest prompt with all metadata needs, each character escaped."""

LATER = "darkroom.later"
"""In the scope of a request: a list to which a response may add what the gate serves for it."""

_LOOPBACK_CLIENTS = re.compile(r"127\.[0-9.]+|::1|::ffff:127\.[0-9.]+")
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Later = Callable[[Receive, Send], Awaitable[None]]

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]

log = structlog.get_logger(__name__)


class Gate:
    """Lets a request through to the application, or answers it with a problem.

    Where no API key is needed, only this machine and TRUSTED_NETWORKS are served, under a name
    of this machine, and no page of another site: neither a form nor a script elsewhere can
    submit jobs.

    Raises:
        ConfigurationError: TRUSTED_NETWORKS names a gateway, and there is none.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._is_open = not settings.needs_api_keys
        self._trusted = TrustedNetworks(settings.trusted_networks if self._is_open else ())
        base = urlsplit(settings.public_base_url or "")
        self._hosts = _LOOPBACK_HOSTS | ({base.hostname} if base.hostname else set())
        self._origins = frozenset(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        try:
            refusal = self._refuse(scope)
            if refusal is not None:
                await problem(*refusal)(scope, exchange.receive, exchange.send)
            else:
                await self._serve(scope, exchange)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"][:200],
                status=exchange.status,
                duration_ms=round((time.monotonic() - exchange.started_at) * 1000, 1),
            )

    async def _serve(self, scope: Scope, exchange: "_Exchange") -> None:
        """Have the application answer, and then serve what it has left to be served.

        An event stream lives here, when all frames and objects of the framework are gone: they
        are half of what it would hold.
        """
        later: list[Later] = []
        await self._app({**scope, LATER: later}, exchange.receive, exchange.send)
        if later:
            await later.pop()(exchange.receive, exchange.send)

    def _refuse(self, scope: Scope) -> tuple[int, str, str] | None:
        headers = Headers(scope=scope)
        if self._is_open and (reason := self._find_stranger(scope, headers)):
            return 403, "forbidden", reason
        if scope["method"] in _SAFE_METHODS:
            return None
        length = headers.get("content-length", "0")
        has_body = length != "0" or "transfer-encoding" in headers
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if has_body and media_type != "application/json":
            return 415, "unsupported_media_type", "send the body as Content-Type: application/json"
        if length.isdecimal() and int(length) > BODY_MAX_BYTES:
            return 413, "payload_too_large", f"the body may have {BODY_MAX_BYTES} bytes"
        return None

    def _find_stranger(self, scope: Scope, headers: Headers) -> str | None:
        """Say why a request without a key is not one of this machine's user."""
        client = scope.get("client")
        if client is not None and not self._knows(client[0]):
            return "without API keys (REQUIRE_API_KEYS) only this machine is served"
        host = re.sub(r":[0-9]+$", "", headers.get("host", "")).lower()
        if host not in self._hosts:
            return "without API keys only requests to localhost are served"
        origin = headers.get("origin")
        if scope["method"] in _SAFE_METHODS or origin is None or origin in self._origins:
            return None
        if urlsplit(origin).netloc != headers.get("host"):
            return "without API keys no page of another site may send this"
        return None

    def _knows(self, address: str) -> bool:
        return _LOOPBACK_CLIENTS.fullmatch(address) is not None or self._trusted.hold(address)


class _Exchange:
    """One request and its answer: counts what comes in, adds headers to what goes out."""

    __slots__ = ("_receive", "_send", "size_bytes", "started_at", "status")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.started_at = time.monotonic()
        self.status = 500
        self.size_bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.size_bytes += len(message.get("body", b""))
            if self.size_bytes > BODY_MAX_BYTES:
                # Only a body without a length comes this far: the rest of it is not read.
                raise HTTPException(413, f"the body may have {BODY_MAX_BYTES} bytes")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *_missing(message["headers"])]
        await self._send(message)


def _missing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = {name.lower() for name, _ in headers}
    return [header for header in SECURITY_HEADERS if header[0] not in given]
