"""Following many jobs to their ends from one event loop: through the hub, else from the rows.

Does what `shared.generation.follow` does for a thread. All jobs without a recent event share one
query of their rows.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from uuid import UUID

import structlog

from shared.errors import ServiceUnavailable
from shared.events.background import keep_running
from shared.events.event import FROM_THE_START, Event, row_event
from shared.events.hub import EventHub
from shared.events.topics import Deliver, Subscription
from shared.generation.follow import ROW_SECONDS
from shared.jobs.model import Job

TICK_SECONDS = 1.0

FindEnded = Callable[[Sequence[UUID]], Awaitable[list[Job]]]

log = structlog.get_logger(__name__)


class JobWatcher:
    """Delivers the events of jobs as they come, and the last one in any case.

    Args:
        find_ended: `JobStore.find_ended`, called without blocking the loop.
    """

    def __init__(self, hub: EventHub, find_ended: FindEnded) -> None:
        self._hub = hub
        self._find_ended = find_ended
        self._job_ids: dict[Subscription, UUID] = {}
        self._ticking: asyncio.Task[None] | None = None

    @property
    def watches(self) -> int:
        """How many clients watch."""
        return len(self._job_ids)

    def watch(self, job: Job, after_id: str, deliver: Deliver) -> Subscription:
        """Begin to deliver the events after the given one, in order, up to the last.

        `deliver` must not block, and may call `stop`.
        """
        watch = self._hub.subscribe(job.task_id, after_id, deliver)
        self._job_ids[watch] = job.id
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().create_task(
                keep_running("watcher", self._tick)
            )
        return watch

    def stop(self, watch: Subscription) -> None:
        """End a watch; every watch needs this call, also after its last event."""
        self._job_ids.pop(watch, None)
        self._hub.unsubscribe(watch)
        if not self._job_ids and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    async def follow(self, job: Job, seconds: float = math.inf) -> AsyncGenerator[Event, None]:
        """Yield the events of a job as they come, up to the last, or for so many seconds."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        watch = self.watch(job, FROM_THE_START, events.put_nowait)
        until = time.monotonic() + seconds
        try:
            is_over = False
            while not is_over:
                left = None if math.isinf(until) else max(0.0, until - time.monotonic())
                event = await asyncio.wait_for(events.get(), left)
                yield event
                is_over = event.is_last
        except TimeoutError:
            return
        finally:
            self.stop(watch)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            silent: dict[Subscription, UUID] = {}
            for watch, job_id in self._job_ids.items():
                watch.silent_ticks += 1
                if watch.silent_ticks * TICK_SECONDS > ROW_SECONDS:
                    watch.silent_ticks = 0
                    silent[watch] = job_id
            if silent:
                await self._read_rows(silent)

    async def _read_rows(self, silent: dict[Subscription, UUID]) -> None:
        try:
            ended = await self._find_ended(list(set(silent.values())))
        except ServiceUnavailable as error:
            log.warning("ends not read", reason=str(error))
            return
        jobs = {job.id: job for job in ended}
        redis_responds = True
        for watch, job_id in silent.items():
            if job_id in jobs and not watch.is_over:
                job = jobs[job_id]
                # A frozen Redis is asked once, not once for each of a thousand jobs.
                redis_responds = redis_responds and await self._deliver_rest(watch, job)
                watch.deliver(row_event(job.step, job.ending.finished_at, watch.after_id))

    async def _deliver_rest(self, watch: Subscription, job: Job) -> bool:
        """Deliver what the stream still holds; return whether Redis responded."""
        try:
            while not watch.is_over:
                rest = await self._hub.read(job.task_id, watch.after_id)
                if not rest:
                    break
                for event in rest:
                    watch.deliver(event)
        except ServiceUnavailable as error:
            log.warning("stream not read", reason=str(error))
            return False
        return True
