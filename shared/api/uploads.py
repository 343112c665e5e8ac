"""Bodies that hold pictures: on disk while they arrive, then in memory one at a time.

Where a body arrives whole, as under Lambda, it is in memory before; API Gateway bounds it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate
from tempfile import SpooledTemporaryFile
from typing import IO
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.access.stream_slots import StreamSlots
from shared.errors import LimitReached, TooManyStreams

SPOOL_BYTES = 64 * 1024
"""What a body may hold in memory while it arrives."""

UPLOAD_SECONDS = 120.0
"""How long a body may take: 4 MiB at 35 kB a second."""

UPLOADS_MAX = 32
"""Uploads of a workspace that one process receives and keeps waiting."""

RETRY_AFTER_SECONDS = 2


class TooManyUploads(LimitReached, code="too_many_uploads"):
    """The workspace has as many uploads under way as one process takes."""

    policy = "uploads"


class Uploads:
    """The uploads of one process.

    Args:
        seconds: How long a body may take.
        slots: Of a workspace in all processes, where each takes one picture: half of them would
            be enough to lock others out. None where a process takes those of all workspaces.
    """

    def __init__(self, seconds: float = UPLOAD_SECONDS, slots: StreamSlots | None = None) -> None:
        self._seconds = seconds
        self._slots = slots
        # One at a time: a picture of 50 million pixels takes half a gigabyte to decode.
        self._decoding = asyncio.Semaphore(1)
        self._open: dict[str, list[Upload]] = {}

    @asynccontextmanager
    async def receive(self, request: Request, workspace_id: str) -> AsyncIterator["Upload"]:
        """Receive the body of a request, for the length of a block.

        Raises:
            TooManyUploads: The workspace has as many as it may.
            HTTPException: The body takes too long (408).
        """
        others = self._open.setdefault(workspace_id, [])
        if len(others) >= UPLOADS_MAX:
            raise TooManyUploads(UPLOADS_MAX, RETRY_AFTER_SECONDS)
        turn = others[0].turn if others else asyncio.Lock()
        with SpooledTemporaryFile(SPOOL_BYTES) as file:
            upload = Upload(file, turn, self._decoding, _Counted(self._slots, workspace_id))
            others.append(upload)
            try:
                await self._fill(file, request)
                yield upload
            finally:
                others.remove(upload)
                if not others:
                    self._open.pop(workspace_id, None)

    async def _fill(self, file: IO[bytes], request: Request) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                async for piece in request.stream():
                    file.write(piece)
        except TimeoutError:
            line = f"the body must arrive within {self._seconds:g} s"
            raise HTTPException(408, line, {"Connection": "close"}) from None


class _Counted:
    """Holds the slot of an upload for the length of a block.

    Raises:
        TooManyUploads: The workspace has as many as it may.
    """

    def __init__(self, slots: StreamSlots | None, workspace_id: str) -> None:
        self._slots, self._workspace_id = slots, workspace_id
        self._slot = uuid4().hex

    async def __aenter__(self) -> None:
        if self._slots is not None:
            try:
                await asyncio.to_thread(self._slots.take, self._workspace_id, self._slot)
            except TooManyStreams as error:
                raise TooManyUploads(error.limit, RETRY_AFTER_SECONDS) from error

    async def __aexit__(self, *_error: object) -> None:
        if self._slots is not None:
            await asyncio.to_thread(self._slots.free, self._workspace_id, [self._slot])


class Upload:
    """One body, which `load` brings into memory.

    Attributes:
        turn: Held by the one upload of its workspace that is decoded or next to be.
    """

    def __init__(
        self, file: IO[bytes], turn: asyncio.Lock, decoding: asyncio.Semaphore, counted: _Counted
    ) -> None:
        self.turn = turn
        self._file, self._decoding, self._counted = file, decoding, counted
        self._ends = [-1]

    @property
    def parts(self) -> int:
        """How many pictures it holds: the body itself, or what `replace` kept."""
        return len(self._ends)

    @asynccontextmanager
    async def load(self, number: int = 0) -> AsyncIterator[bytes]:
        """Give the body, or one of the pictures in it, once it is its turn, up to the block's end.

        Workspaces take turns: one with many uploads delays that of another by one at most.

        Raises:
            TooManyUploads: Other processes load as many of the workspace as they may.
        """
        async with self._counted, self.turn, self._decoding:
            start = self._ends[number - 1] if number else 0
            self._file.seek(start)
            yield await asyncio.to_thread(self._file.read, self._ends[number] - start)

    def replace(self, pictures: Sequence[bytes]) -> None:
        """Keep these instead of the body: the parts of it that are still needed."""
        self._file.seek(0)
        self._file.truncate()
        for picture in pictures:
            self._file.write(picture)
        self._ends = list(accumulate(map(len, pictures)))
