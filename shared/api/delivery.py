"""The port of event delivery: how the events of a job reach a client over HTTP.

Two implementations: `live_delivery` streams under uvicorn, `window_delivery` answers in
portions under Mangum, which cannot stream. The same client follows both.
"""

from collections.abc import Sequence
from typing import Protocol

from starlette.responses import Response

from shared.events.model import Event
from shared.generation.follow import JobFollower
from shared.jobs.model import Job

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    # nginx would collect the stream otherwise.
    "X-Accel-Buffering": "no",
}

AFTER_END_RETRY_MILLISECONDS = 100


class EventDelivery(Protocol):
    """Delivers events.

    Contract: whoever repeats the request with the id of the last event received gets every
    other event once, in order, and the last one in any case; then 204.
    """

    async def respond(self, job: Job, after_id: str) -> Response:
        """Return the response with the events after the given one.

        Raises:
            TooManyStreams: The job's workspace has as many streams open as it may.
            ServiceUnavailable: Neither Redis nor PostgreSQL can be reached.
        """
        ...

    async def wait_for_end(self, job: Job, seconds: float) -> None:
        """Return when the job has ended, or the time is over."""
        ...


def frame(event: Event) -> bytes:
    """Return an event as it is sent: its id, and exactly the JSON of the channel."""
    return f"id: {event.id}\ndata: {event.step.as_json()}\n\n".encode()


def retry_frame(milliseconds: int) -> bytes:
    """Return what tells a client how long to wait before it comes back."""
    return f"retry: {milliseconds}\n\n".encode()


def portion(events: Sequence[Event], retry_milliseconds: int) -> Response:
    """Return these events as a whole answer, after which the client comes back."""
    body = b"".join([retry_frame(retry_milliseconds), *(frame(event) for event in events)])
    return Response(body, headers=HEADERS)


def find_answer_of_ended(follower: JobFollower, job: Job, after_id: str) -> Response | None:
    """Return what a client gets who asks for the events of a job that has ended.

    204, at which an EventSource stops, if it has heard all; else all that is left. None while
    the job runs, and at the moment between its end and its last event.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    if not job.status.is_terminal:
        return None
    if follower.has_heard_all(job, after_id):
        return Response(status_code=204)
    rest = follower.find_rest(job, after_id)
    return portion(rest, AFTER_END_RETRY_MILLISECONDS) if rest else None
