"""Event delivery in portions, where a response cannot be streamed: under Mangum.

Each response holds the events after the client's last one. If there are none, it waits for the
next event, up to a window; then the client reconnects at once.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from starlette.responses import Response

from shared.access.stream_slots import StreamSlots
from shared.api.sse import AnswerLimits, Describe, find_answer_of_ended, portion
from shared.errors import ServiceUnavailable
from shared.events.event import FROM_THE_START, Event
from shared.generation.follow import EventFollower
from shared.jobs.model import Job

RETRY_MILLISECONDS = 100
RETRY_UNAVAILABLE_MILLISECONDS = 2_000

ANSWER_MAX_BYTES = 5_500_000
"""A function may return 6 MB (Lambda quotas), with headers and as JSON."""


class WindowDelivery:
    """Answers with portions; implements `shared.api.sse.EventDelivery`.

    Args:
        window_seconds: How long a response waits for an event; less than API Gateway's 30 s.
    """

    def __init__(self, follower: EventFollower, slots: StreamSlots, window_seconds: float) -> None:
        self._follower = follower
        self._slots = slots
        self._window_seconds = window_seconds
        self.limits: AnswerLimits | None = AnswerLimits(window_seconds, ANSWER_MAX_BYTES)

    async def respond(
        self, job: Job, after_id: str, describe: Describe | None = None, key_id: str | None = None
    ) -> Response:
        """Return the next portion of events; see the port. The next request needs a valid key."""
        return await asyncio.to_thread(self._respond, job, after_id, describe)

    @asynccontextmanager
    async def hold(self, workspace_id: str, key_id: str | None = None) -> AsyncIterator[None]:
        """Hold the slot of a stream for the length of a block; see the port."""
        slot = uuid4().hex
        await asyncio.to_thread(self._slots.take, workspace_id, slot)
        try:
            yield
        finally:
            await asyncio.to_thread(self._slots.free, workspace_id, [slot])

    async def follow(self, job: Job, seconds: float = math.inf) -> AsyncGenerator[Event, None]:
        """Yield the events of a job as they come; see the port."""
        until = time.monotonic() + seconds
        after_id = FROM_THE_START
        with suppress(ServiceUnavailable):
            while events := await asyncio.to_thread(self._follower.wait, job, after_id, until):
                for event in events:
                    yield event
                after_id = events[-1].id
                if events[-1].is_last:
                    return

    def _respond(self, job: Job, after_id: str, describe: Describe | None) -> Response:
        answer = find_answer_of_ended(self._follower, job, after_id, describe)
        if answer is not None:
            return answer
        slot = uuid4().hex
        self._slots.take(job.workspace_id, slot)
        try:
            until = time.monotonic() + self._window_seconds
            start_id = self._follower.find_start(job, after_id)
            events = self._follower.wait(job, start_id, until)
            return portion(events, RETRY_MILLISECONDS, describe)
        except ServiceUnavailable:
            # An error would end an EventSource for good.
            return portion([], RETRY_UNAVAILABLE_MILLISECONDS)
        finally:
            self._slots.free(job.workspace_id, [slot])
