"""Responses that wait for their jobs: what is sent meanwhile, and how they end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from shared.api.openai.openai_errors import OpenAIError
from shared.api.openai.waiting_response import Push, StreamedResponse, WaitingResponse
from shared.errors import StorageUnavailable

HEADERS = {"x-darkroom-job": "7"}
DONE = JSONResponse({"created": 7})
REJECTED = OpenAIError(400, {"message": "no", "code": "moderation_blocked"}).as_response()


class Late(WaitingResponse):
    """A response whose white space comes at once."""

    silent_seconds = 0.0


class Client:
    """The server's side of a connection, as a response sees it (ASGI)."""

    def __init__(self, ping: bytes) -> None:
        self.ping = ping
        self.sent: list[Message] = []
        self.has_left = asyncio.Event()
        self.was_noticed = asyncio.Event()
        self.has_ended = False
        self._has_news = asyncio.Event()

    async def receive(self) -> Message:
        """Wait until the client leaves."""
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Keep what is sent."""
        self.sent.append(message)
        self._has_news.set()

    async def leave(self) -> None:
        """Note that the response has seen the client leave."""
        self.was_noticed.set()

    async def end(self) -> None:
        """Note that the response has ended."""
        self.has_ended = True

    async def receives(self, body: bytes) -> None:
        """Wait until the body has come so far."""
        async with asyncio.timeout(5):
            while self.body != body:
                self._has_news.clear()
                await self._has_news.wait()

    @property
    def status(self) -> int:
        """The status that was sent."""
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        """All that was sent of the body."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_complete(self) -> bool:
        """Whether the body has its end."""
        return not self.sent[-1].get("more_body", False)


Scene = Callable[[Client, asyncio.Event], Awaitable[None]]


def serve(kind: type[WaitingResponse], answer: Response | Exception, scene: Scene) -> Client:
    """Serve a response whose answer comes when the scene sets an event."""

    async def play() -> Client:
        client, has_ended = Client(kind.ping), asyncio.Event()

        async def wait(_push: Push) -> Response:
            await has_ended.wait()
            if isinstance(answer, Exception):
                raise answer
            return answer

        response = kind(wait, HEADERS, client.leave, client.end)
        serving = asyncio.create_task(response({"type": "http"}, client.receive, client.send))
        await scene(client, has_ended)
        await serving
        assert client.has_ended
        return client

    return asyncio.run(play())


async def end_at_once(_client: Client, has_ended: asyncio.Event) -> None:
    """End the job before anything was sent."""
    has_ended.set()


async def end_late(client: Client, has_ended: asyncio.Event) -> None:
    """End the job once the body has begun."""
    await client.receives(client.ping)
    has_ended.set()


@pytest.mark.parametrize(("answer", "status"), [(DONE, 200), (REJECTED, 400)])
def test_early_end_has_its_own_status(answer: Response, status: int) -> None:
    """And the job in a header."""
    client = serve(WaitingResponse, answer, end_at_once)
    assert (client.status, client.body) == (status, answer.body)
    assert (b"x-darkroom-job", b"7") in client.sent[0]["headers"]


def test_late_end_comes_after_white_space() -> None:
    """JSON may begin with it; the length of the body is not known before."""
    client = serve(Late, DONE, end_late)
    assert (client.status, client.body) == (200, b" " + bytes(DONE.body))
    assert client.is_complete
    names = [name for name, _ in client.sent[0]["headers"]]
    assert b"content-length" not in names


def test_white_space_is_sent_again_and_again() -> None:
    """Proxies count the time since the last byte."""

    class Hasty(Late):
        ping_seconds = 0.001

    async def end_after_three(client: Client, has_ended: asyncio.Event) -> None:
        await client.receives(b"   ")
        has_ended.set()

    assert serve(Hasty, DONE, end_after_three).body.endswith(bytes(DONE.body))


@pytest.mark.parametrize("answer", [REJECTED, StorageUnavailable("a disk is gone")])
def test_late_error_cuts_the_connection(answer: Any) -> None:
    """A status was sent, and it was another: the client asks again and gets the right one."""
    client = serve(Late, answer, end_late)
    assert (client.status, client.body, client.is_complete) == (200, b" ", False)


def test_stream_says_the_error_itself() -> None:
    """As an event, also where it is a problem of ours."""
    client = serve(StreamedResponse, REJECTED, end_late)
    assert client.body.endswith(
        b'event: error\ndata: {"error": {"message": "no", "code": "moderation_blocked"}}\n\n'
    )
    assert client.is_complete
    problem = serve(StreamedResponse, StorageUnavailable("a disk is gone"), end_late).body
    assert b'"code": "storage_unavailable"' in problem
    assert b"disk" not in problem


def test_client_that_leaves_is_noticed_at_once() -> None:
    """And nothing more is sent."""

    async def leave(client: Client, _has_ended: asyncio.Event) -> None:
        client.has_left.set()
        await client.was_noticed.wait()

    assert serve(WaitingResponse, DONE, leave).sent == []
