"""Checks of every request, security headers of every response, and a log line for each.

Plain ASGI around the whole application: a middleware class of the framework would cost each open
event stream kilobytes.
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
from shared.imaging.media_types import MEDIA_TYPES, UPLOAD_MAX_BYTES
from shared.settings import Settings

BODY_MAX_BYTES = 256 * 1024
"""Four times the longest prompt with all metadata, each character escaped."""

UPLOAD_PATH = "/v1/assets"
"""The only path that accepts pictures instead of JSON."""

LATER = "darkroom.later"
"""In the scope of a request: a list of calls that continue the response, made by the gate."""

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
    """Passes a request to the application, or answers it with a problem.

    Without API keys, only clients of this machine and of TRUSTED_NETWORKS are served, under a name
    of this machine. Pages of other sites are refused: neither their forms nor their scripts can
    submit jobs.

    Raises:
        ConfigurationError: TRUSTED_NETWORKS names a gateway, but the machine has none.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._is_open = not settings.needs_api_keys
        self._trusted = TrustedNetworks(settings.trusted_networks if self._is_open else ())
        base = urlsplit(settings.public_base_url or "")
        self._hosts = _LOOPBACK_HOSTS | ({base.hostname} if base.hostname else set())
        self._origins = frozenset(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, _limit_of(scope))
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
        """Call the application, and then continue the response if it asks for that.

        An event stream runs here, after the calls of the framework have returned: their frames
        and objects would double its memory.
        """
        later: list[Later] = []
        await self.app({**scope, LATER: later}, exchange.receive, exchange.send)
        if later:
            await later.pop()(exchange.receive, exchange.send)

    def _refuse(self, scope: Scope) -> tuple[str, str] | None:
        headers = Headers(scope=scope)
        if self._is_open and (reason := self._find_objection(scope, headers)):
            return "forbidden", reason
        if scope["method"] in _SAFE_METHODS:
            return None
        length = headers.get("content-length", "0")
        has_body = length != "0" or "transfer-encoding" in headers
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        taken = MEDIA_TYPES if _is_upload(scope) else ("application/json",)
        if has_body and media_type not in taken:
            wanted = " or ".join(taken)
            return "unsupported_media_type", f"send the body as Content-Type: {wanted}"
        if length.isdecimal() and int(length) > _limit_of(scope):
            return "payload_too_large", f"the body may have {_limit_of(scope)} bytes"
        return None

    def _find_objection(self, scope: Scope, headers: Headers) -> str | None:
        """Return why a request without a key may not be from a user of this machine."""
        client = scope.get("client")
        if client is not None and not self._trusts(client[0]):
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

    def _trusts(self, address: str) -> bool:
        return _LOOPBACK_CLIENTS.fullmatch(address) is not None or self._trusted.hold(address)


class _Exchange:
    """One request and its response: counts the bytes received, and adds headers."""

    __slots__ = ("_limit_bytes", "_receive", "_send", "size_bytes", "started_at", "status")

    def __init__(self, receive: Receive, send: Send, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._receive = receive
        self._send = send
        self.started_at = time.monotonic()
        self.status = 500
        self.size_bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.size_bytes += len(message.get("body", b""))
            if self.size_bytes > self._limit_bytes:
                # Only a body without a Content-Length comes this far. Its rest is not read.
                raise HTTPException(413, f"the body may have {self._limit_bytes} bytes")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *_missing(message["headers"])]
        await self._send(message)


def _is_upload(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"] == UPLOAD_PATH)


def _limit_of(scope: Scope) -> int:
    return UPLOAD_MAX_BYTES if _is_upload(scope) else BODY_MAX_BYTES


def _missing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = {name.lower() for name, _ in headers}
    return [header for header in SECURITY_HEADERS if header[0] not in given]
