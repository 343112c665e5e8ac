"""The port of event delivery: how the events of a job reach a client over HTTP.

Two implementations, the same for clients: `live_delivery` streams under uvicorn, `window_delivery`
answers in portions under Mangum, which cannot stream.
"""

from collections.abc import Sequence
from typing import Protocol

from starlette.responses import Response

from shared.events.event import Event
from shared.generation.follow import EventFollower
from shared.jobs.model import Job

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    # Keeps nginx from buffering the stream.
    "X-Accel-Buffering": "no",
}

AFTER_END_RETRY_MILLISECONDS = 100


class EventDelivery(Protocol):
    """Delivers events.

    Contract: a client that repeats the request with the id of the last event it received gets
    every other event once, in order, and the last one in any case; then 204.
    """

    async def respond(self, job: Job, after_id: str) -> Response:
        """Return the response with the events after the given one.

        Raises:
            TooManyStreams: The workspace of the job has reached its limit of open streams.
            ServiceUnavailable: Neither Redis nor PostgreSQL can be reached.
        """
        ...

    async def wait_for_end(self, job: Job, seconds: float) -> None:
        """Return when the job has ended, or after so many seconds."""
        ...


def frame(event: Event) -> bytes:
    """Return an event as a frame: its id, and exactly the JSON of the channel."""
    return f"id: {event.id}\ndata: {event.step.as_json()}\n\n".encode()


def retry_frame(milliseconds: int) -> bytes:
    """Return the frame that sets how long a client waits before it reconnects."""
    return f"retry: {milliseconds}\n\n".encode()


def portion(events: Sequence[Event], retry_milliseconds: int) -> Response:
    """Return these events as a complete response, after which the client reconnects."""
    body = b"".join([retry_frame(retry_milliseconds), *(frame(event) for event in events)])
    return Response(body, headers=HEADERS)


def find_answer_of_ended(follower: EventFollower, job: Job, after_id: str) -> Response | None:
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
    return portion(rest, AFTER_END_RETRY_MILLISECONDS) if rest else None
