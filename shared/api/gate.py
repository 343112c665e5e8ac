"""Checks of every request, default headers of every response, and a log line for each.

Plain ASGI around the whole application: a middleware class of the framework would cost each open
event stream kilobytes.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from shared.access.trusted_networks import TrustedNetworks
from shared.api.caller import CALLER, Caller
from shared.api.problems import UNAVAILABLE, come_again, is_outage_of_events, problem
from shared.api.quotas import quota_headers
from shared.api.request_names import REQUEST_ID, note_response, request_id_of, request_span
from shared.imaging.media_types import UPLOAD_MAX_BYTES, UPLOAD_MEDIA_TYPES
from shared.settings import Settings

BODY_MAX_BYTES = 256 * 1024
"""Four times the longest prompt with all metadata, each character escaped."""

_JSON = (("application/json",), BODY_MAX_BYTES)
_FORM = (("multipart/form-data",), UPLOAD_MAX_BYTES + BODY_MAX_BYTES)
_BODIES = {
    "/v1/assets": (UPLOAD_MEDIA_TYPES, UPLOAD_MAX_BYTES),
    "/v1/images/edits": _FORM,
    "/v1/images/edits/async": _FORM,
}
"""Media types and the greatest size of bodies, by path, where they are not JSON."""

LATER = "darkroom.later"
"""In the scope of a request: a list of calls that continue the response, made by the gate."""

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.~%!$&'()*+;=-]*)(?::[0-9]{1,5})?", re.ASCII)
"""RFC 9110, section 7.2: a name, an IPv4 or an IPv6 address, perhaps with a port."""

_LOOPBACK_CLIENTS = re.compile(r"127\.[0-9.]+|::1|::ffff:127\.[0-9.]+")
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Later = Callable[[Receive, Send], Awaitable[None]]

DEFAULT_HEADERS = {
    # Most bodies hold signed addresses.
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every response that does not set them itself."""

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
        headers = Headers(scope=scope)
        exchange = _Exchange(receive, send, _body_of(scope)[1], request_id_of(headers))
        with request_span(scope, headers) as span:
            bound = bind_contextvars(request_id=exchange.request_id, **span.log_fields)
            try:
                await self._answer(scope, exchange)
            finally:
                note_response(span, scope, exchange.route, exchange.status)
                reset_contextvars(**bound)

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            refusal = self._refuse(scope)
            if refusal is not None:
                await problem(*refusal)(scope, exchange.receive, exchange.send)
            else:
                await self._serve(scope, exchange)
        except asyncio.CancelledError:
            # The API stops, and waits no longer for what this request waits for.
            if exchange.has_started:
                raise
            is_stream = is_outage_of_events(scope, 503)
            answer = come_again() if is_stream else problem("service_unavailable", UNAVAILABLE)
            await answer(scope, exchange.receive, exchange.send)
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
        scope = {**scope, LATER: later, CALLER: exchange.caller}
        try:
            await self.app(scope, exchange.receive, exchange.send)
        finally:
            exchange.route = scope.get("route")
        if later:
            await later.pop()(exchange.receive, exchange.send)

    def _refuse(self, scope: Scope) -> tuple[str, str] | None:
        headers = Headers(scope=scope)
        if _HOST.fullmatch(",".join(headers.getlist("host"))) is None:
            return "malformed_host", "send one Host, as in the address of the request"
        if self._is_foreign(headers):
            log_unlisted(headers["origin"])
        if self._is_open and (reason := self._find_objection(scope, headers)):
            return "forbidden", reason
        if scope["method"] in _SAFE_METHODS:
            return None
        length = headers.get("content-length", "0")
        has_body = length != "0" or "transfer-encoding" in headers
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        taken, limit_bytes = _body_of(scope)
        # Many programs say image/jpg, which no standard knows.
        if has_body and media_type.replace("image/jpg", "image/jpeg") not in taken:
            wanted = " or ".join(taken)
            return "unsupported_media_type", f"send the body as Content-Type: {wanted}"
        if length.isdecimal() and int(length) > limit_bytes:
            return "payload_too_large", f"the body may have {limit_bytes} bytes"
        return None

    def _find_objection(self, scope: Scope, headers: Headers) -> str | None:
        """Return why a request without a key may not be from a user of this machine."""
        client = scope.get("client")
        if client is not None and not self._trusts(client[0]):
            return "without API keys (REQUIRE_API_KEYS) only this machine is served"
        host = re.sub(r":[0-9]+$", "", headers.get("host", "")).lower()
        if host not in self._hosts:
            return "without API keys only requests to localhost are served"
        if scope["method"] not in _SAFE_METHODS and self._is_foreign(headers):
            return "without API keys only pages of the origins in CORS_ORIGINS may send this"
        return None

    def _is_foreign(self, headers: Headers) -> bool:
        """Return whether the request is from a page of another site that is not listed."""
        origin = headers.get("origin")
        if origin is None or origin in self._origins:
            return False
        return origin.partition("//")[2] != headers.get("host")

    def _trusts(self, address: str) -> bool:
        return _LOOPBACK_CLIENTS.fullmatch(address) is not None or self._trusted.hold(address)


class _Exchange:
    """One request and its response: counts the bytes received, and adds headers."""

    __slots__ = (
        "_limit_bytes", "_receive", "_send", "caller", "has_started", "request_id", "route",
        "size_bytes", "started_at", "status",
    )  # fmt: skip

    def __init__(self, receive: Receive, send: Send, limit_bytes: int, request_id: str) -> None:
        self._limit_bytes = limit_bytes
        self._receive = receive
        self._send = send
        self.started_at = time.monotonic()
        self.has_started, self.status = False, 500
        self.size_bytes = 0
        self.caller = Caller()
        self.request_id = request_id
        self.route: Any = None

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
            self.has_started, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.request_id
            for name, value in DEFAULT_HEADERS.items():
                headers.setdefault(name, value)
            if self.caller.quota is not None:
                for name, value in quota_headers([self.caller.quota]).items():
                    known = headers.get(name)
                    headers[name] = f"{known}, {value}" if known else value
        await self._send(message)


def log_unlisted(origin: str) -> None:
    """Log that a browser will keep the answer from the page which sent the request."""
    log.info("origin not listed", origin=origin[:200], setting="CORS_ORIGINS")


class ListedOrigins(CORSMiddleware):
    """Lets pages of the listed origins use the API, and logs what asks from other origins."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer what a browser asks before it sends the request of a page."""
        if not self.is_allowed_origin(request_headers["origin"]):
            log_unlisted(request_headers["origin"])
        response = super().preflight_response(request_headers)
        response.headers[REQUEST_ID] = request_id_of(request_headers)
        return response


def _body_of(scope: Scope) -> tuple[tuple[str, ...], int]:
    """Return the media types that a body may have, and its greatest size."""
    return _BODIES.get(scope["path"], _JSON) if scope["method"] == "POST" else _JSON
