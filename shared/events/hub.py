"""The events of many jobs for many clients of one process: one ear, one reader.

Knows Redis only; belongs to the event loop of the API under uvicorn. One connection is
subscribed to the channels of all jobs that somebody follows, and no more than a doorbell. A
second one reads the streams: all that rang since the last read, in one round trip.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.errors import ServiceUnavailable
from shared.events import keys
from shared.events.connection import connect_async_redis
from shared.events.doorbell import PAUSE_SECONDS, Doorbell
from shared.events.follower import READ_AT_MOST, events_of
from shared.events.model import Event, follows

Deliver = Callable[[Event], None]

SILENCE_SECONDS = 2.0
"""A stream whose doorbell was silent for so long is read all the same: pub/sub forgets."""

TICK_SECONDS = 0.5

LISTENING_SECONDS = 1.0
"""Who waits longer for the doorbell goes on without it."""

CATCH_UPS_AT_ONCE = 100
READ_TIMEOUT_SECONDS = 5.0
"""After which a read is given up, and its connection with it."""

log = structlog.get_logger(__name__)


class Topic:
    """A job that somebody follows: its stream, and how far that was read.

    Attributes:
        after_id: The last event that was read; None until somebody has caught up.
        is_heard: Whether its doorbell is connected.
        since: When it last rang or was read, in the loop's time.
    """

    __slots__ = ("after_id", "is_heard", "since", "subscriptions", "task_id")

    def __init__(self, task_id: str, now: float) -> None:
        self.task_id = task_id
        self.after_id: str | None = None
        self.is_heard = False
        self.since = now
        self.subscriptions: list[Subscription] = []


class Subscription:
    """One follower of one job's events.

    Attributes:
        after_id: The last event it was given.
        is_live: Whether it has caught up with the stream.
    """

    __slots__ = ("_deliver", "after_id", "is_live", "topic")

    def __init__(self, topic: Topic, after_id: str, deliver: Deliver) -> None:
        self.topic = topic
        self.after_id = after_id
        self.is_live = False
        self._deliver = deliver

    def give(self, event: Event) -> None:
        """Deliver an event, unless it was delivered before."""
        if follows(event.id, self.after_id):
            self.after_id = event.id
            self._deliver(event)


class EventHub:
    """Gives each subscription the events of its job: first those of the past, then live.

    Connects at its first subscription and closes with its last, so that nothing is left of
    clients that have gone.
    """

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._topics: dict[str, Topic] = {}
        self._rang: dict[str, Topic] = {}
        self._behind: list[Subscription] = []
        self._wake = asyncio.Event()
        self._reading = asyncio.Lock()
        self._read_since = math.inf
        self._redis: Redis | None = None
        self._doorbell: Doorbell | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self._closings: set[asyncio.Task[None]] = set()

    @property
    def topics(self) -> int:
        """How many jobs are followed."""
        return len(self._topics)

    def subscribe(self, task_id: str, after_id: str, deliver: Deliver) -> Subscription:
        """Begin to deliver the events after the given one, in order, each once."""
        doorbell = self._connected_doorbell()
        topic = self._topics.get(task_id)
        if topic is None:
            topic = Topic(task_id, asyncio.get_running_loop().time())
            self._topics[task_id] = topic
            doorbell.listen(task_id)
        subscription = Subscription(topic, after_id, deliver)
        topic.subscriptions.append(subscription)
        if topic.is_heard:
            self._catch_up_soon(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing more; what nobody needs any longer is closed."""
        topic = subscription.topic
        with suppress(ValueError):
            topic.subscriptions.remove(subscription)
        with suppress(ValueError):
            self._behind.remove(subscription)
        if topic.subscriptions or self._topics.get(topic.task_id) is not topic:
            return
        del self._topics[topic.task_id]
        self._rang.pop(topic.task_id, None)
        if self._doorbell is not None:
            self._doorbell.ignore(topic.task_id)
        if not self._topics:
            self._disconnect()

    async def read(self, task_id: str, after_id: str) -> list[Event]:
        """Return the events after the given one, `READ_AT_MOST` of them.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        if self._redis is None:
            raise ServiceUnavailable("Redis: nobody is connected")
        try:
            async with self._reading, self._timed():
                entries: Any = await self._redis.xrange(
                    keys.stream(task_id), min=f"({after_id}", count=READ_AT_MOST
                )
        except RedisError as error:
            raise ServiceUnavailable(f"Redis: {error}"[:200]) from error
        return events_of(entries)

    async def close(self) -> None:
        """End all work at once, and wait until it has ended."""
        self._disconnect()
        await asyncio.gather(*self._closings, return_exceptions=True)

    # -- its connections -------------------------------------------------------------------

    def _connected_doorbell(self) -> Doorbell:
        if self._doorbell is None:
            self._wake.clear()
            self._redis = connect_async_redis(self._redis_url)
            self._doorbell = Doorbell(
                connect_async_redis(self._redis_url), self._note_ring, self._note_listening
            )
            self._spawn(self._doorbell.run(), self._workers)
            self._spawn(self._read_streams(self._redis), self._workers)
            self._spawn(self._look_after_silence(), self._workers)
        return self._doorbell

    def _disconnect(self) -> None:
        if self._doorbell is not None:
            self._doorbell.stop()
        workers = tuple(self._workers)
        for task in workers:
            task.cancel()
        redis, doorbell = self._redis, self._doorbell
        self._redis = self._doorbell = None
        self._topics.clear()
        self._rang.clear()
        self._behind.clear()
        if redis is not None and doorbell is not None:
            self._spawn(_close(redis, doorbell, workers), self._closings)

    def _spawn(self, work: Coroutine[Any, Any, None], kept_in: "set[asyncio.Task[None]]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        kept_in.add(task)
        task.add_done_callback(kept_in.discard)
        task.add_done_callback(_report_failure)

    # -- what it hears ---------------------------------------------------------------------

    def _note_ring(self, task_id: str) -> None:
        topic = self._topics.get(task_id)
        if topic is not None:
            self._rang[task_id] = topic
            self._wake.set()

    def _note_listening(self, task_id: str) -> None:
        """Read the past only now: whatever comes after it rings."""
        topic = self._topics.get(task_id)
        if topic is not None and not topic.is_heard:
            topic.is_heard = True
            for subscription in topic.subscriptions:
                self._catch_up_soon(subscription)

    def _catch_up_soon(self, subscription: Subscription) -> None:
        self._behind.append(subscription)
        self._wake.set()

    async def _look_after_silence(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            if self._redis is not None and now - self._read_since >= READ_TIMEOUT_SECONDS:
                await self._redis.connection_pool.disconnect()
            for task_id, topic in tuple(self._topics.items()):
                if not topic.is_heard and now - topic.since >= LISTENING_SECONDS:
                    self._note_listening(task_id)
                if now - topic.since >= SILENCE_SECONDS:
                    self._note_ring(task_id)

    @asynccontextmanager
    async def _timed(self) -> AsyncIterator[None]:
        """Let `_look_after_silence` know since when there is a read."""
        self._read_since = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._read_since = math.inf

    # -- the reader ------------------------------------------------------------------------

    async def _read_streams(self, redis: Redis) -> None:
        # A cancellation may be swallowed; see `Doorbell.stop`.
        while self._redis is redis:
            await self._wake.wait()
            self._wake.clear()
            behind = self._behind[:CATCH_UPS_AT_ONCE]
            del self._behind[:CATCH_UPS_AT_ONCE]
            rang = [topic for topic in self._rang.values() if topic.after_id is not None]
            for topic in rang:
                del self._rang[topic.task_id]
            try:
                async with self._reading, self._timed():
                    await self._catch_up(redis, behind)
                    await self._read_on(redis, rang)
            except (RedisError, OSError) as error:
                log.warning("streams not read", reason=str(error)[:200])
                self._behind += behind
                self._rang.update((topic.task_id, topic) for topic in rang)
                await asyncio.sleep(PAUSE_SECONDS)
            if self._behind or any(topic.after_id is not None for topic in self._rang.values()):
                self._wake.set()

    async def _catch_up(self, redis: Redis, behind: list[Subscription]) -> None:
        if not behind:
            return
        pipeline = redis.pipeline(transaction=False)
        for subscription in behind:
            pipeline.xrange(
                keys.stream(subscription.topic.task_id),
                min=f"({subscription.after_id}",
                count=READ_AT_MOST,
            )
        for subscription, entries in zip(behind, await pipeline.execute(), strict=True):
            topic = subscription.topic
            if subscription not in topic.subscriptions:
                continue
            for event in events_of(entries):
                subscription.give(event)
            if len(entries) >= READ_AT_MOST:
                self._behind.append(subscription)
                continue
            subscription.is_live = True
            if topic.after_id is None:
                topic.after_id = subscription.after_id

    async def _read_on(self, redis: Redis, rang: list[Topic]) -> None:
        followed = {keys.stream(topic.task_id): topic for topic in rang if topic.subscriptions}
        if not followed:
            return
        now = asyncio.get_running_loop().time()
        after: dict[Any, Any] = {}
        for stream, topic in followed.items():
            topic.since = now
            after[stream] = topic.after_id
        answer: Any = await redis.xread(after, count=READ_AT_MOST)
        for stream, entries in answer:
            topic, events = followed[stream], events_of(entries)
            topic.after_id = events[-1].id
            if len(events) >= READ_AT_MOST:
                self._note_ring(topic.task_id)
            for subscription in tuple(topic.subscriptions):
                if subscription.is_live:
                    for event in events:
                        subscription.give(event)


def _report_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("event hub failed", reason=repr(error))


async def _close(
    redis: Redis, doorbell: Doorbell, workers: "tuple[asyncio.Task[None], ...]"
) -> None:
    await asyncio.gather(*workers, return_exceptions=True)
    await doorbell.close()
    with suppress(RedisError, OSError):
        await redis.aclose()
