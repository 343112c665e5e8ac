"""Answers that are longer than those of a function may be: asked for in parts, and sent whole.

On AWS a long picture comes from a bucket, to which the function redirects. Without a bucket, on one
machine, the gateway asks for parts of it, as the slice module of nginx does
(nginx.org/en/docs/http/ngx_http_slice_module.html), and its client sees what uvicorn answers.
"""

import re
from asyncio import to_thread
from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devkit.lambda_host.on_disk import WaitingBytes

PART_BYTES = 4_000_000
PIECE_BYTES = 64 * 1024

GetPart = Callable[[int], Awaitable[Response]]

_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")

log = structlog.get_logger(__name__)


def ranged(request: Request, first: int) -> Request:
    """Return the request for the part that begins at this byte."""
    wanted = f"bytes={first}-{first + PART_BYTES - 1}".encode()
    headers = [each for each in request.scope["headers"] if each[0] not in (b"range", b"if-range")]
    return Request({**request.scope, "headers": [*headers, (b"range", wanted)]})


async def whole_of(get_part: GetPart) -> Response | None:
    """Return the whole response of which the function gives parts; None if it gives none.

    Args:
        get_part: Returns the part that begins at a byte.
    """
    first = await get_part(0)
    found = _CONTENT_RANGE.fullmatch(first.headers.get("content-range", ""))
    if first.status_code != 206 or found is None or found[1] != "0":
        return None
    return _JoinedParts(first, int(found[3]), get_part)


class FiledResponse(Response):
    """A response whose body lies on disk: a client that does not read it holds one piece of it."""

    def __init__(self, response: Response) -> None:
        super().__init__(None, response.status_code)
        self.raw_headers, self._file = response.raw_headers, WaitingBytes(bytes(response.body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        await _send_pieces(send, self._file)
        await send({"type": "http.response.body", "body": b""})


class _JoinedParts(Response):
    """Sends one part after the other, each from a file."""

    def __init__(self, first: Response, size: int, get_part: GetPart) -> None:
        super().__init__(None, 200)
        self.raw_headers = [*first.raw_headers]
        del self.headers["content-range"]
        self.headers["content-length"] = str(size)
        self._size, self._get_part, self._first = size, get_part, first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI); it ends early, as a lost connection, if a part is not there."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        sent = 0
        while sent < self._size:
            part = await self._get_part(sent) if sent else self._first
            last = sent + len(part.body) - 1
            is_next = (
                bool(part.body)
                and part.headers.get("content-range") == f"bytes {sent}-{last}/{self._size}"
            )
            if not is_next or part.headers.get("etag") != self.headers.get("etag"):
                log.warning("answer cut off", status=part.status_code, sent_bytes=sent)
                break
            sent, file = last + 1, await to_thread(WaitingBytes, bytes(part.body))
            part.body = b""
            await _send_pieces(send, file)
        await send({"type": "http.response.body", "body": b""})


async def _send_pieces(send: Send, file: WaitingBytes) -> None:
    with file:
        file.seek(0)
        while piece := file.read(PIECE_BYTES):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
