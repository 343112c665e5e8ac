"""Reads the streams of many jobs over one connection: all that is due, in one round trip.

Belongs to the hub. A new subscription catches up first, with what its stream holds; then it
shares the reads of its topic.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from shared.errors import one_line
from shared.events.channels import RECONNECT_SECONDS
from shared.events.connection import reporting_unavailability
from shared.events.event import Event, bounded, follows, parse_entries
from shared.events.keys import Keys, unprefixed
from shared.events.reader import READ_AT_MOST
from shared.events.topics import Subscription, Topic

CATCH_UPS_AT_ONCE = 100
READ_TIMEOUT_SECONDS = 5.0
"""A read that takes longer is given up, and its connection with it."""

log = structlog.get_logger(__name__)


class TopicReader:
    """Reads topics and delivers their events; runs until it is stopped."""

    def __init__(self, redis: Redis, keys: Keys = unprefixed) -> None:
        self._redis = redis
        self._keys = keys
        self._due: dict[str, Topic] = {}
        self._behind: list[Subscription] = []
        self._has_work = asyncio.Event()
        self._reading = asyncio.Lock()
        self._reading_since = math.inf
        self._is_open = True

    def read_soon(self, topic: Topic) -> None:
        """Read what is new in the stream of a topic."""
        self._due[topic.task_id] = topic
        self._has_work.set()

    def catch_up_soon(self, subscription: Subscription) -> None:
        """Deliver what the stream holds already; the subscription is live afterwards."""
        self._behind.append(subscription)
        self._has_work.set()

    def forget(self, subscription: Subscription) -> None:
        """Read nothing more for a subscription, nor for a topic without subscriptions."""
        with suppress(ValueError):
            self._behind.remove(subscription)
        topic = subscription.topic
        if not topic.subscriptions and self._due.get(topic.task_id) is topic:
            del self._due[topic.task_id]

    async def read(self, task_id: str, after_id: str) -> list[Event]:
        """Return the events after the given one, at most `READ_AT_MOST`.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        with reporting_unavailability():
            async with self._exclusively():
                entries: Any = await self._redis.xrange(
                    self._keys.stream(task_id), min=f"({after_id}", count=READ_AT_MOST
                )
        return parse_entries(entries)

    async def run(self) -> None:
        """Read whatever is due, until stopped or cancelled."""
        while self._is_open:
            await self._has_work.wait()
            self._has_work.clear()
            behind = self._behind[:CATCH_UPS_AT_ONCE]
            del self._behind[:CATCH_UPS_AT_ONCE]
            due = self._ready()
            for topic in due:
                del self._due[topic.task_id]
            try:
                async with self._exclusively():
                    await self._catch_up(behind)
                    await self._read_on(due)
            except (RedisError, OSError) as error:
                log.warning("streams not read", reason=one_line(str(error)))
                self._behind += behind
                self._due.update((topic.task_id, topic) for topic in due)
                await asyncio.sleep(RECONNECT_SECONDS)
            if self._behind or self._ready():
                self._has_work.set()

    async def abort_stuck_read(self) -> None:
        """Close the connection under a read that takes too long; its task then raises."""
        now = asyncio.get_running_loop().time()
        if now - self._reading_since >= READ_TIMEOUT_SECONDS:
            await self._redis.connection_pool.disconnect()

    def stop(self) -> None:
        """End `run`; a cancellation alone may not (see `ChannelConnection.stop`)."""
        self._is_open = False

    async def close(self) -> None:
        """Close the connection; `run` must have ended."""
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    @asynccontextmanager
    async def _exclusively(self) -> AsyncIterator[None]:
        async with self._reading:
            self._reading_since = asyncio.get_running_loop().time()
            try:
                yield
            finally:
                self._reading_since = math.inf

    def _ready(self) -> list[Topic]:
        return [topic for topic in self._due.values() if topic.after_id is not None]

    async def _catch_up(self, behind: list[Subscription]) -> None:
        if not behind:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for subscription in behind:
            # Before its events: what is appended in between follows this end.
            pipeline.xrevrange(self._keys.stream(subscription.topic.task_id), count=1)
            pipeline.xrange(
                self._keys.stream(subscription.topic.task_id),
                min=f"({subscription.after_id}",
                count=READ_AT_MOST,
            )
        answers = await pipeline.execute(raise_on_error=False)
        for subscription, newest, entries in zip(behind, answers[::2], answers[1::2], strict=True):
            topic = subscription.topic
            if subscription not in topic.subscriptions:
                continue
            if isinstance(entries, ResponseError):
                _log_unreadable(topic, entries)
                continue
            for answer in (newest, entries):
                if isinstance(answer, Exception):
                    raise answer
            subscription.after_id = bounded(subscription.after_id, newest)
            for event in parse_entries(entries):
                subscription.deliver(event)
            if len(entries) >= READ_AT_MOST:
                subscription.after_id = entries[-1][0]
                self._behind.append(subscription)
                continue
            subscription.is_live = True
            if topic.after_id is None or follows(topic.after_id, subscription.after_id):
                topic.after_id = subscription.after_id

    async def _read_each(self, topics: dict[str, Topic]) -> list[tuple[str, Any]]:
        """Read topics one by one, as one of them is no stream; that one is given up."""
        pipeline = self._redis.pipeline(transaction=False)
        for stream, topic in topics.items():
            pipeline.xrange(stream, min=f"({topic.after_id}", count=READ_AT_MOST)
        answers = await pipeline.execute(raise_on_error=False)
        found = list(zip(topics, answers, strict=True))
        for stream, entries in found:
            if isinstance(entries, ResponseError):
                _log_unreadable(topics[stream], entries)
                topics[stream].after_id = None
        return [
            (stream, entries) for stream, entries in found if isinstance(entries, list) and entries
        ]

    async def _read_on(self, due: list[Topic]) -> None:
        topics = {self._keys.stream(topic.task_id): topic for topic in due if topic.subscriptions}
        if not topics:
            return
        now = asyncio.get_running_loop().time()
        after: dict[Any, Any] = {}
        for stream, topic in topics.items():
            topic.read_at = now
            after[stream] = topic.after_id
        try:
            answer: Any = await self._redis.xread(after, count=READ_AT_MOST)
        except ResponseError:
            answer = await self._read_each(topics)
        for stream, entries in answer:
            topic = topics[stream]
            topic.after_id = entries[-1][0]
            if len(entries) >= READ_AT_MOST:
                self.read_soon(topic)
            events = parse_entries(entries)
            for subscription in tuple(topic.subscriptions):
                if subscription.is_live:
                    for event in events:
                        subscription.deliver(event)


def _log_unreadable(topic: Topic, error: ResponseError) -> None:
    """Log that a job has no stream: its followers get its end from its row."""
    log.warning("stream not readable", task_id=topic.task_id, reason=one_line(str(error)))
