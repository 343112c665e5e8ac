"""The bytes of a picture as a response: whole, or the part that a client asks for."""

import re
from asyncio import to_thread
from collections.abc import Mapping
from os import SEEK_END
from typing import BinaryIO

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE_BYTES = 64 * 1024

_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")


class PictureResponse(Response):
    """Sends a picture piece by piece, so that readers who stall hold a piece each, and no more.

    A part is answered with 206 (RFC 9110, section 14). A `Range` in another form, or behind the
    end, is ignored.

    Args:
        file: Of the picture; closed in the end.
        part: The header `Range`; empty for all of it.
        part_max_bytes: What a part may have; a client sees in `Content-Range` what it gets. None
            for any number.
    """

    def __init__(
        self,
        file: BinaryIO,
        headers: Mapping[str, str],
        media_type: str,
        part: str = "",
        part_max_bytes: int | None = None,
    ) -> None:
        size = file.seek(0, SEEK_END)
        self._file, self._first, self._last = file, 0, size - 1
        found, status = _RANGE.fullmatch(part), 200
        if found and int(found[1]) < size and int(found[1]) <= int(found[2] or size):
            self._first, status = int(found[1]), 206
            most = part_max_bytes or size
            self._last = min(int(found[2] or size), size - 1, self._first + most - 1)
        length = self._last - self._first + 1
        more = {"Content-Length": str(length), "Accept-Ranges": "bytes"}
        if status == 206:
            more["Content-Range"] = f"bytes {self._first}-{self._last}/{size}"
        super().__init__(None, status, {**headers, **more}, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        with self._file as file:
            file.seek(self._first)
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            left = self._last - self._first + 1
            while piece := await to_thread(file.read, min(PIECE_BYTES, left)):
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
