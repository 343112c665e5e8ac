"""Following many jobs to their ends from one event loop: through the hub, else from the rows.

Does what `shared.generation.follow` does for a thread. All jobs without a recent event share one
query of their rows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import structlog

from shared.errors import ServiceUnavailable
from shared.events.event import FROM_THE_START, Event, row_event
from shared.events.hub import EventHub
from shared.events.topics import Deliver, Subscription
from shared.generation.follow import ROW_SECONDS
from shared.jobs.model import Job

TICK_SECONDS = 1.0

FindEnded = Callable[[Sequence[UUID]], Awaitable[list[Job]]]

log = structlog.get_logger(__name__)


class Watch:
    """One client's view of one job: its events, and in any case the last."""

    __slots__ = ("_deliver", "delivered_at", "job_id", "subscription")

    def __init__(self, job_id: UUID, deliver: Deliver, now: float) -> None:
        self.job_id = job_id
        self.delivered_at = now
        self.subscription: Subscription | None = None
        self._deliver: Deliver | None = deliver

    @property
    def is_over(self) -> bool:
        """Whether nothing more is delivered."""
        return self._deliver is None

    def deliver(self, event: Event) -> None:
        """Deliver an event; nothing after the last."""
        if self._deliver is None:
            return
        deliver = self._deliver
        if event.is_last:
            self._deliver = None
        self.delivered_at = asyncio.get_running_loop().time()
        deliver(event)

    def stop(self) -> None:
        """Deliver nothing more."""
        self._deliver = None


class JobWatcher:
    """Delivers the events of jobs as they come, and the last one in any case.

    Args:
        find_ended: `JobStore.find_ended`, called without blocking the loop.
    """

    def __init__(self, hub: EventHub, find_ended: FindEnded) -> None:
        self._hub = hub
        self._find_ended = find_ended
        self._watches: set[Watch] = set()
        self._ticking: asyncio.Task[None] | None = None

    @property
    def watches(self) -> int:
        """How many clients watch."""
        return len(self._watches)

    def watch(self, job: Job, after_id: str, deliver: Deliver) -> Watch:
        """Begin to deliver the events after the given one, in order, up to the last.

        `deliver` must not block, and may end the watch.
        """
        loop = asyncio.get_running_loop()
        watch = Watch(job.id, deliver, loop.time())
        watch.subscription = self._hub.subscribe(job.task_id, after_id, watch.deliver)
        self._watches.add(watch)
        if self._ticking is None:
            self._ticking = loop.create_task(self._tick())
        return watch

    def stop(self, watch: Watch) -> None:
        """End a watch; every watch needs this call, also after its last event."""
        watch.stop()
        self._watches.discard(watch)
        if watch.subscription is not None:
            self._hub.unsubscribe(watch.subscription)
        if not self._watches and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    async def wait_for_end(self, job: Job, seconds: float) -> bool:
        """Wait until a job has ended; return False if it has not within the time."""
        ended = asyncio.Event()

        def note(event: Event) -> None:
            if event.is_last:
                ended.set()

        watch = self.watch(job, FROM_THE_START, note)
        try:
            await asyncio.wait_for(ended.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            self.stop(watch)
        return True

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            silent_since = asyncio.get_running_loop().time() - ROW_SECONDS
            silent = [watch for watch in self._watches if watch.delivered_at <= silent_since]
            if silent:
                await self._read_rows(silent)

    async def _read_rows(self, silent: Sequence[Watch]) -> None:
        try:
            ended = await self._find_ended(list({watch.job_id for watch in silent}))
        except ServiceUnavailable as error:
            log.warning("ends not read", reason=str(error))
            ended = []
        now = asyncio.get_running_loop().time()
        jobs = {job.id: job for job in ended}
        redis_answers = True
        for watch in silent:
            watch.delivered_at = now
            if watch.job_id in jobs and not watch.is_over:
                job = jobs[watch.job_id]
                # A frozen Redis is asked once, not once for each of a thousand jobs.
                redis_answers = redis_answers and await self._deliver_rest(watch, job)
                watch.deliver(row_event(job.step, job.ending.finished_at))

    async def _deliver_rest(self, watch: Watch, job: Job) -> bool:
        """Deliver what the stream still holds; return whether Redis answered."""
        subscription = watch.subscription
        try:
            while subscription is not None and not watch.is_over:
                rest = await self._hub.read(job.task_id, subscription.after_id)
                if not rest:
                    break
                for event in rest:
                    subscription.deliver(event)
        except ServiceUnavailable as error:
            log.warning("stream not read", reason=str(error))
            return False
        return True
