"""Responses that take as long as their job does, through proxies that close silent connections."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.api.openai.openai_errors import error_of_problem
from shared.api.problems import problem_of
from shared.errors import DarkroomError

SILENT_SECONDS = 20.0
"""Heroku gives up after 30 s without a byte, nginx and AWS load balancers after 60 s, Cloudflare
after 100 s (their documentation of timeouts)."""

Push = Callable[[bytes], Awaitable[None]]
Answer = Callable[[Push], Awaitable[Response]]
Call = Callable[[], Awaitable[None]]

log = structlog.get_logger(__name__)


class WaitingResponse(Response):
    """Sends an answer as soon as it is there: JSON, after white space if that takes long.

    Once white space was sent, an error can have no status: the connection is then closed before
    the end of the response. SDKs repeat the request, find the same job, and get its error.

    Args:
        answer: Waits, and returns the response; may push parts of the body before.
        headers: Of the response, whatever it is.
        on_leave: Called if the client disconnects before the end.
        on_end: Called in the end, whatever happened.
    """

    media_type = "application/json"
    ping = b" "
    silent_seconds = SILENT_SECONDS
    ping_seconds = 10.0

    def __init__(
        self, answer: Answer, headers: Mapping[str, str], on_leave: Call, on_end: Call
    ) -> None:
        super().__init__(None, 200, headers)
        # A body that has begun has no length yet.
        del self.headers["content-length"]
        self._given = headers
        self._answer = answer
        self._on_leave, self._on_end = on_leave, on_end
        self._sending = asyncio.Lock()
        self._has_begun = self._has_ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the response until its end, or until the client disconnects (ASGI)."""
        serving = asyncio.create_task(self._serve(scope, receive, send))
        leaving = asyncio.create_task(_wait_until_left(receive))
        pause = self.silent_seconds
        try:
            while not (done := await _first_of(serving, leaving, pause)):
                await self._push(send, self.ping)
                pause = self.ping_seconds
            if serving in done:
                await serving
            else:
                await self._on_leave()
        finally:
            serving.cancel()
            leaving.cancel()
            await asyncio.gather(serving, leaving, return_exceptions=True)
            await self._on_end()

    def end_of(self, answer: Response) -> bytes | None:
        """Return the end of a body that has begun; None if it can have none."""
        return bytes(answer.body) if answer.status_code == 200 else None

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(lambda data: self._push(send, data))
        except DarkroomError as error:
            answer = problem_of(error)
        async with self._sending:
            self._has_ended = True
            if not self._has_begun:
                answer.headers.update(self._given)
                await answer(scope, receive, send)
            elif (body := self.end_of(answer)) is not None:
                await send({"type": "http.response.body", "body": body, "more_body": False})
            else:
                log.info("answer cut off", status=answer.status_code)

    async def _push(self, send: Send, data: bytes) -> None:
        async with self._sending:
            if self._has_ended:
                return
            if not self._has_begun:
                self._has_begun = True
                start = {"status": self.status_code, "headers": self.raw_headers}
                await send({"type": "http.response.start", **start})
            await send({"type": "http.response.body", "body": data, "more_body": True})


class StreamedResponse(WaitingResponse):
    """Sends the events of an answer as they come, and comments in between."""

    media_type = "text/event-stream"
    ping = b": the job has not ended\n\n"
    silent_seconds = 0.0

    def end_of(self, answer: Response) -> bytes:
        """Return the last events, or an event with the error."""
        if answer.status_code == 200:
            return bytes(answer.body)
        body = json.loads(bytes(answer.body))
        error = body.get("error") or error_of_problem(body, "POST", "").body
        return f"event: error\ndata: {json.dumps({'error': error})}\n\n".encode()


async def _first_of(
    serving: asyncio.Task[None], leaving: asyncio.Task[None], seconds: float
) -> set[asyncio.Task[None]]:
    first = asyncio.FIRST_COMPLETED
    done, _ = await asyncio.wait({serving, leaving}, timeout=seconds, return_when=first)
    return done


async def _wait_until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
