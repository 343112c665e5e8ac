"""The events of many jobs for many clients of one process: one ear, one reader.

Knows Redis only; belongs to the event loop of the API under uvicorn. One connection is
subscribed to the channels of all jobs that somebody follows, and no more than a doorbell. A
second one reads the streams: all that rang since the last read, in one round trip.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.errors import ServiceUnavailable
from shared.events import keys
from shared.events.connection import connect_async_redis
from shared.events.follower import READ_AT_MOST, events_of
from shared.events.model import Event, follows

Deliver = Callable[[Event], None]

SILENCE_SECONDS = 2.0
"""A stream whose doorbell was silent for so long is read all the same: pub/sub forgets."""

TICK_SECONDS = 0.5
PAUSE_SECONDS = 0.5
"""Between two tries while Redis is away."""

SUBSCRIBE_SECONDS = 1.0
CATCH_UPS_AT_ONCE = 100

log = structlog.get_logger(__name__)


class Subscription:
    """One follower of one job's events.

    Attributes:
        after_id: The last event it was given.
        is_live: Whether it has caught up with the stream.
    """

    __slots__ = ("_deliver", "after_id", "is_live", "topic")

    def __init__(self, topic: "Topic", after_id: str, deliver: Deliver) -> None:
        self.topic = topic
        self.after_id = after_id
        self.is_live = False
        self._deliver = deliver

    def give(self, event: Event) -> None:
        """Deliver an event, unless it was delivered before."""
        if follows(event.id, self.after_id):
            self.after_id = event.id
            self._deliver(event)


class Topic:
    """A job that somebody follows: its stream, and how far that was read.

    Attributes:
        after_id: The last event that was read; None until somebody has caught up.
        heard_at: When it last rang or was read, in the loop's time.
    """

    __slots__ = ("after_id", "confirmed", "heard_at", "subscriptions", "task_id")

    def __init__(self, task_id: str, now: float, confirmed: "asyncio.Future[None]") -> None:
        self.task_id = task_id
        self.after_id: str | None = None
        self.heard_at = now
        self.confirmed: asyncio.Future[None] | None = confirmed
        self.subscriptions: list[Subscription] = []


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
        self._asked = asyncio.Event()
        self._reading = asyncio.Lock()
        self._redis: Redis | None = None
        self._ear: PubSub | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def topics(self) -> int:
        """How many jobs are followed."""
        return len(self._topics)

    def subscribe(self, task_id: str, after_id: str, deliver: Deliver) -> Subscription:
        """Begin to deliver the events after the given one, in order, each once."""
        self._start()
        topic = self._topics.get(task_id)
        is_new = topic is None
        if topic is None:
            loop = asyncio.get_running_loop()
            topic = Topic(task_id, loop.time(), loop.create_future())
            self._topics[task_id] = topic
        subscription = Subscription(topic, after_id, deliver)
        topic.subscriptions.append(subscription)
        self._spawn(self._begin(subscription, is_new=is_new))
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
        if topic.confirmed is not None:
            topic.confirmed.cancel()
        if self._topics:
            self._spawn(self._unsubscribe(topic.task_id))
        else:
            self._stop()

    async def read(self, task_id: str, after_id: str) -> list[Event]:
        """Return the events after the given one, `READ_AT_MOST` of them.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        if self._redis is None:
            raise ServiceUnavailable("Redis: nobody is connected")
        try:
            async with self._reading:
                entries: Any = await self._redis.xrange(
                    keys.stream(task_id), min=f"({after_id}", count=READ_AT_MOST
                )
        except RedisError as error:
            raise ServiceUnavailable(f"Redis: {error}"[:200]) from error
        return events_of(entries)

    async def close(self) -> None:
        """End all work at once."""
        tasks = self._stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- its tasks -------------------------------------------------------------------------

    def _start(self) -> None:
        if self._redis is not None:
            return
        self._wake.clear()
        self._asked.clear()
        self._redis = connect_async_redis(self._redis_url)
        self._ear = self._redis.pubsub()
        for work in (self._listen(), self._read_streams(), self._watch_silence()):
            self._spawn(work)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._forget_task)

    def _forget_task(self, task: "asyncio.Task[None]") -> None:
        with suppress(ValueError):
            self._tasks.remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("event hub task failed", reason=repr(error))

    def _stop(self) -> "list[asyncio.Task[None]]":
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        redis, ear = self._redis, self._ear
        self._redis = self._ear = None
        self._topics.clear()
        self._rang.clear()
        self._behind.clear()
        if redis is not None and ear is not None:
            tasks.append(asyncio.get_running_loop().create_task(_disconnect(redis, ear)))
        return tasks

    # -- the ear ---------------------------------------------------------------------------

    async def _begin(self, subscription: Subscription, *, is_new: bool) -> None:
        """Read the stream only once the doorbell is connected: what comes later rings.

        After a second without it all the same: what it misses is found a little later.
        """
        topic = subscription.topic
        if is_new:
            await self._subscribe_to(topic.task_id)
        if topic.confirmed is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(topic.confirmed), SUBSCRIBE_SECONDS)
        if subscription in topic.subscriptions:
            self._behind.append(subscription)
            self._wake.set()

    async def _subscribe_to(self, task_id: str) -> None:
        if self._ear is None:
            return
        # While Redis is away the ear subscribes to everything when it is back.
        with suppress(RedisError, OSError):
            await self._ear.subscribe(keys.channel(task_id))
        self._asked.set()

    async def _unsubscribe(self, task_id: str) -> None:
        if self._ear is None or task_id in self._topics:
            return
        with suppress(RedisError, OSError):
            await self._ear.unsubscribe(keys.channel(task_id))
        if task_id in self._topics:
            # Somebody came meanwhile, and his request may have been the first of the two.
            await self._subscribe_to(task_id)

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except (RedisError, OSError) as error:
                log.warning("doorbell lost", reason=str(error)[:200])
                await asyncio.sleep(PAUSE_SECONDS)
                await self._subscribe_anew()

    async def _hear(self) -> None:
        prefix = len(keys.channel(""))
        await self._asked.wait()
        while True:
            ear = self._ear
            if ear is None or not ear.subscribed:
                raise RedisConnectionError("not subscribed")
            message = await ear.get_message(timeout=TICK_SECONDS)
            if message is None:
                continue
            task_id = message["channel"][prefix:]
            topic = self._topics.get(task_id)
            if topic is None:
                continue
            if message["type"] == "message":
                self._rang[task_id] = topic
                self._wake.set()
            elif message["type"] == "subscribe" and topic.confirmed is not None:
                topic.confirmed.set_result(None)
                topic.confirmed = None

    async def _subscribe_anew(self) -> None:
        """Listen on a new connection; all streams are read, as any may have rung unheard."""
        if self._redis is None or self._ear is None:
            return
        lost, self._ear = self._ear, self._redis.pubsub()
        with suppress(RedisError, OSError):
            await lost.aclose()  # type: ignore[no-untyped-call] # redis-py
        channels = [keys.channel(task_id) for task_id in self._topics]
        with suppress(RedisError, OSError):
            if channels:
                await self._ear.subscribe(*channels)
        self._rang.update(self._topics)
        self._wake.set()

    async def _watch_silence(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            for task_id, topic in self._topics.items():
                if now - topic.heard_at >= SILENCE_SECONDS:
                    self._rang[task_id] = topic
            if self._rang:
                self._wake.set()

    # -- the reader ------------------------------------------------------------------------

    async def _read_streams(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            behind, self._behind = (
                self._behind[:CATCH_UPS_AT_ONCE],
                self._behind[CATCH_UPS_AT_ONCE:],
            )
            rang = [topic for topic in self._rang.values() if topic.after_id is not None]
            for topic in rang:
                del self._rang[topic.task_id]
            try:
                async with self._reading:
                    await self._catch_up(behind)
                    await self._read(rang)
            except (RedisError, OSError) as error:
                log.warning("streams not read", reason=str(error)[:200])
                self._behind = [*behind, *self._behind]
                self._rang.update((topic.task_id, topic) for topic in rang)
                await asyncio.sleep(PAUSE_SECONDS)
            if self._behind or any(topic.after_id is not None for topic in self._rang.values()):
                self._wake.set()

    async def _catch_up(self, behind: list[Subscription]) -> None:
        if not behind or self._redis is None:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for subscription in behind:
            pipeline.xrange(
                keys.stream(subscription.topic.task_id),
                min=f"({subscription.after_id}",
                count=READ_AT_MOST,
            )
        for subscription, entries in zip(behind, await pipeline.execute(), strict=True):
            events = events_of(entries)
            for event in events:
                subscription.give(event)
            if len(events) >= READ_AT_MOST:
                self._behind.append(subscription)
                continue
            subscription.is_live = True
            topic = subscription.topic
            if topic.after_id is None:
                topic.after_id = subscription.after_id

    async def _read(self, rang: list[Topic]) -> None:
        followed = [topic for topic in rang if topic.subscriptions]
        if not followed or self._redis is None:
            return
        now = asyncio.get_running_loop().time()
        after: dict[Any, Any] = {}
        for topic in followed:
            topic.heard_at = now
            after[keys.stream(topic.task_id)] = topic.after_id
        answer: Any = await self._redis.xread(after, count=READ_AT_MOST)
        by_stream = {keys.stream(topic.task_id): topic for topic in followed}
        for stream, entries in answer:
            topic = by_stream[stream]
            events = events_of(entries)
            topic.after_id = events[-1].id
            if len(events) >= READ_AT_MOST:
                self._rang[topic.task_id] = topic
            for subscription in tuple(topic.subscriptions):
                if subscription.is_live:
                    for event in events:
                        subscription.give(event)


async def _disconnect(redis: Redis, ear: PubSub) -> None:
    with suppress(RedisError, OSError):
        await ear.aclose()  # type: ignore[no-untyped-call] # redis-py
        await redis.aclose()
