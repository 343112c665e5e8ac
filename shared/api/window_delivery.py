"""Event delivery in portions, where a response cannot be streamed: under Mangum.

Each response holds the events after the client's last one. If there are none, it waits for the
next event, up to a window; then the client reconnects at once.
"""

import asyncio
import time
from contextlib import suppress
from uuid import uuid4

from starlette.responses import Response

from shared.access.stream_slots import StreamSlots
from shared.api.delivery import find_answer_of_ended, portion
from shared.errors import ServiceUnavailable
from shared.events.event import FROM_THE_START
from shared.generation.follow import EventFollower
from shared.jobs.model import Job

RETRY_MILLISECONDS = 100
RETRY_UNAVAILABLE_MILLISECONDS = 2_000


class WindowDelivery:
    """Answers with portions; implements `shared.api.delivery.EventDelivery`.

    Args:
        window_seconds: How long a response waits for an event; less than API Gateway's 30 s.
    """

    def __init__(self, follower: EventFollower, slots: StreamSlots, window_seconds: float) -> None:
        self._follower = follower
        self._slots = slots
        self._window_seconds = window_seconds

    async def respond(self, job: Job, after_id: str) -> Response:
        """Return the next portion of events; see the port."""
        return await asyncio.get_running_loop().run_in_executor(None, self._respond, job, after_id)

    async def wait_for_end(self, job: Job, seconds: float) -> None:
        """Return when the job has ended, or after so many seconds."""
        await asyncio.get_running_loop().run_in_executor(None, self._wait_for_end, job, seconds)

    def _respond(self, job: Job, after_id: str) -> Response:
        answer = find_answer_of_ended(self._follower, job, after_id)
        if answer is not None:
            return answer
        slot = uuid4().hex
        self._slots.take(job.workspace_id, slot)
        try:
            until = time.monotonic() + self._window_seconds
            return portion(self._follower.wait(job, after_id, until), RETRY_MILLISECONDS)
        except ServiceUnavailable:
            # An error would end an EventSource for good.
            return portion([], RETRY_UNAVAILABLE_MILLISECONDS)
        finally:
            self._slots.free(job.workspace_id, [slot])

    def _wait_for_end(self, job: Job, seconds: float) -> None:
        until = time.monotonic() + seconds
        after_id = FROM_THE_START
        with suppress(ServiceUnavailable):
            while events := self._follower.wait(job, after_id, until):
                after_id = events[-1].id
                if events[-1].is_last:
                    return
