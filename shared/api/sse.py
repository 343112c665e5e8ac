"""The port of event delivery: how a client receives the events of a job as SSE.

Two implementations, the same for clients: `sse_streaming` streams under uvicorn, `sse_window`
answers in portions under Mangum, which cannot stream. The pings of quiet streams are sent by
`sse_streaming`, those of the OpenAI routes by `openai.waiting_response`.
"""

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response

from shared.events.event import Event
from shared.generation.follow import EventFollower
from shared.jobs.model import Job

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # Keeps nginx from buffering the stream.
    "X-Accel-Buffering": "no",
}

AFTER_END_RETRY_MILLISECONDS = 100

Describe = Callable[[], bytes]
"""Returns the job as GET shows it, as JSON in one line; empty while it cannot be read. Blocks."""


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What bounds an answer where it cannot be streamed."""

    seconds: float
    size_bytes: int


class EventDelivery(Protocol):
    """Delivers events.

    Contract: a client that repeats the request with the id of the last event it received gets
    every other event once, in order, and the last one in any case; then 204.

    Attributes:
        limits: Of every answer; None where answers are streamed.
    """

    limits: AnswerLimits | None

    async def respond(
        self, job: Job, after_id: str, describe: Describe | None = None, key_id: str | None = None
    ) -> Response:
        """Return the response with the events after the given one.

        Args:
            job: Whose events they are.
            after_id: Of the last event that the client has.
            describe: For a client that wants the whole job with its events.
            key_id: Of the API key that opens the stream, which ends within a minute once the key
                is revoked; None for a signed address.

        Raises:
            TooManyStreams: The workspace of the job has reached its limit of open streams.
            ServiceUnavailable: Neither Redis nor PostgreSQL can be reached, or the process serves
                as many streams as it can.
        """
        ...

    def hold(
        self, workspace_id: str, key_id: str | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Count a request that waits for the end of a job as a stream, for the length of a block.

        Where it may wait for more than a minute, its task is cancelled once the key is revoked.

        Raises:
            TooManyStreams: The workspace has reached its limit of open streams.
            ServiceUnavailable: The process serves as many streams as it can.
        """
        ...

    def follow(self, job: Job, seconds: float = math.inf) -> AsyncGenerator[Event, None]:
        """Yield the events of a job as they come, up to the last, or for so many seconds."""
        ...


def frame(event: Event) -> bytes:
    """Return an event as a frame: its id, and exactly the JSON of the channel."""
    return f"id: {event.id}\ndata: {event.step.as_json()}\n\n".encode()


def retry_frame(milliseconds: int) -> bytes:
    """Return the frame that sets how long a client waits before it reconnects."""
    return f"retry: {milliseconds}\n\n".encode()


def frames(events: Sequence[Event], describe: Describe | None) -> bytes:
    """Return events as frames, and before the last of them the job as it is now, if wanted.

    A client closes its stream at the last event of a job, so it must have the job by then.
    """
    found = [frame(event) for event in events]
    if found and describe and (job := describe()):
        found.insert(-1, b"event: job\ndata: %b\n\n" % job)
    return b"".join(found)


def portion(
    events: Sequence[Event], retry_milliseconds: int, describe: Describe | None = None
) -> Response:
    """Return these events as a complete response, after which the client reconnects."""
    return Response(retry_frame(retry_milliseconds) + frames(events, describe), headers=HEADERS)


def find_answer_of_ended(
    follower: EventFollower, job: Job, after_id: str, describe: Describe | None = None
) -> Response | None:
    """Return the response to a client that follows a job which has ended.

    204, at which an EventSource stops, if the client has every event; else the remaining events.
    None while the job runs, and in the moment between its end and its last event.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    if not job.status.is_terminal:
        return None
    if follower.is_complete(job, after_id):
        return Response(status_code=204)
    rest = follower.find_rest(job, after_id)
    return portion(rest, AFTER_END_RETRY_MILLISECONDS, describe) if rest else None
