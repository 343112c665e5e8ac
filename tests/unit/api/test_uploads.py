"""Bodies that arrive slowly, many at once, or of many workspaces: what they may hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import cast

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.api.uploads import UPLOADS_MAX, TooManyUploads, Uploads
from tests.support.wait import turn


class PlayedRequest:
    """A request whose body comes in pieces; with `is_endless`, no more comes after them."""

    def __init__(self, *pieces: bytes, is_endless: bool = False) -> None:
        self._pieces, self._is_endless = pieces, is_endless

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        for piece in self._pieces:
            yield piece
        if self._is_endless:
            await asyncio.Event().wait()


def request_of(*pieces: bytes, is_endless: bool = False) -> Request:
    """Return a request with this body."""
    return cast(Request, PlayedRequest(*pieces, is_endless=is_endless))


def test_a_body_is_given_whole_and_may_be_replaced() -> None:
    """Whether it was kept on disk or not."""

    async def play() -> None:
        for pieces in ([b"a", b"b"], [bytes(100_000)] * 3):
            async with Uploads().receive(request_of(*pieces), "shop") as upload:
                async with upload.load() as data:
                    assert data == b"".join(pieces)
                upload.replace([b"picture", b"", b"mask"])
                for number, part in enumerate((b"picture", b"", b"mask")):
                    async with upload.load(number) as data:
                        assert data == part
                assert upload.parts == 3

    asyncio.run(play())


def test_a_body_that_does_not_end_in_time_is_refused() -> None:
    """However steadily it grows; its place is free again."""

    async def play() -> None:
        uploads = Uploads(seconds=0.05)
        for _ in range(UPLOADS_MAX + 1):
            with pytest.raises(HTTPException) as caught:
                async with uploads.receive(request_of(b"a", is_endless=True), "shop"):
                    pass
            assert caught.value.status_code == 408

    asyncio.run(play())


def test_a_workspace_has_so_many_uploads_under_way() -> None:
    """One more says when to come again; another workspace is served."""

    async def play() -> None:
        uploads = Uploads()
        async with AsyncExitStack() as undo:
            for _ in range(UPLOADS_MAX):
                await undo.enter_async_context(uploads.receive(request_of(b"a"), "shop"))
            with pytest.raises(TooManyUploads) as caught:
                await undo.enter_async_context(uploads.receive(request_of(b"a"), "shop"))
            assert caught.value.retry_after_seconds > 0
            await undo.enter_async_context(uploads.receive(request_of(b"a"), "other"))
        async with uploads.receive(request_of(b"a"), "shop"):
            pass

    asyncio.run(play())


def test_workspaces_take_turns() -> None:
    """An upload waits for one of another workspace, however many that one has."""
    order: list[str] = []

    async def play() -> None:
        uploads, begun = Uploads(), asyncio.Event()

        async def upload(workspace_id: str) -> None:
            async with uploads.receive(request_of(b"a"), workspace_id) as received:
                await begun.wait()
                async with received.load():
                    order.append(workspace_id)
                    await turn()

        tasks = [asyncio.create_task(upload("many")) for _ in range(UPLOADS_MAX)]
        await turn()
        tasks.append(asyncio.create_task(upload("one")))
        await turn()
        begun.set()
        await asyncio.gather(*tasks)

    asyncio.run(play())
    assert order.index("one") <= 1
