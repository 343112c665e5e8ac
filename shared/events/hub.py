"""The events of many jobs for many clients of one process, over two connections to Redis.

Knows Redis only; belongs to the event loop of the API under uvicorn. `ChannelConnection` learns
which jobs have new events, `TopicReader` reads them and delivers them to the subscriptions.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from shared.errors import ServiceUnavailable
from shared.events.background import keep_running
from shared.events.channels import ChannelConnection
from shared.events.connection import connect_async_redis
from shared.events.event import Event
from shared.events.keys import Keys, unprefixed
from shared.events.topic_reader import TopicReader
from shared.events.topics import Deliver, Subscription, Topic

SILENCE_SECONDS = 2.0
"""After so long without an event a stream is read all the same: pub/sub loses messages."""

SUBSCRIBING_SECONDS = 1.0
"""A topic whose channel is not subscribed by then is read without it."""

TICK_SECONDS = 0.5


@dataclass
class _Session:
    """What is open while there are subscriptions."""

    channels: ChannelConnection
    reader: TopicReader
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def close(self) -> None:
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.channels.close()
        await self.reader.close()


class EventHub:
    """Delivers the events of jobs to subscriptions: first those of the past, then live.

    Connects at its first subscription and disconnects after its last.
    """

    def __init__(self, redis_url: str, keys: Keys = unprefixed) -> None:
        self._redis_url = redis_url
        self._keys = keys
        self._topics: dict[str, Topic] = {}
        self._session: _Session | None = None
        self._closings: set[asyncio.Task[None]] = set()

    @property
    def topics(self) -> int:
        """How many jobs are followed."""
        return len(self._topics)

    def subscribe(self, task_id: str, after_id: str, deliver: Deliver) -> Subscription:
        """Begin to deliver the events after the given one, in order, each once."""
        session = self._session or self._connect()
        topic = self._topics.get(task_id)
        if topic is None:
            topic = Topic(task_id, asyncio.get_running_loop().time())
            self._topics[task_id] = topic
            session.channels.subscribe(task_id)
        subscription = Subscription(topic, after_id, deliver)
        topic.subscriptions.append(subscription)
        if topic.is_subscribed:
            session.reader.catch_up_soon(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing more; the last subscription closes the connections."""
        subscription.stop()
        topic, session = subscription.topic, self._session
        if session is None or subscription not in topic.subscriptions:
            return
        topic.subscriptions.remove(subscription)
        session.reader.forget(subscription)
        if not topic.subscriptions and self._topics.get(topic.task_id) is topic:
            del self._topics[topic.task_id]
            session.channels.unsubscribe(topic.task_id)
            if not self._topics:
                self._disconnect(session)

    async def read(self, task_id: str, after_id: str) -> list[Event]:
        """Return the events after the given one; see `TopicReader.read`.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        if self._session is None:
            raise ServiceUnavailable("Redis: not connected")
        return await self._session.reader.read(task_id, after_id)

    async def close(self) -> None:
        """End all work at once, and wait until it has ended."""
        if self._session is not None:
            self._disconnect(self._session)
        await asyncio.gather(*self._closings, return_exceptions=True)

    def _connect(self) -> _Session:
        session = self._session = _Session(
            ChannelConnection(
                connect_async_redis(self._redis_url),
                self._on_published,
                self._on_subscribed,
                self._keys,
            ),
            TopicReader(connect_async_redis(self._redis_url), self._keys),
        )
        for name, work in (
            ("channels", session.channels.run),
            ("reader", session.reader.run),
            ("ticker", partial(self._tick, session.reader)),
        ):
            _spawn(keep_running(name, work), session.tasks)
        return session

    def _disconnect(self, session: _Session) -> None:
        self._session = None
        self._topics.clear()
        session.channels.stop()
        session.reader.stop()
        for task in session.tasks:
            task.cancel()
        _spawn(session.close(), self._closings)

    def _on_published(self, task_id: str) -> None:
        topic = self._topics.get(task_id)
        if topic is not None and self._session is not None:
            self._session.reader.read_soon(topic)

    def _on_subscribed(self, task_id: str) -> None:
        """Read the past only now: what comes after it is reported."""
        topic = self._topics.get(task_id)
        if topic is not None and self._session is not None and not topic.is_subscribed:
            topic.is_subscribed = True
            for subscription in topic.subscriptions:
                self._session.reader.catch_up_soon(subscription)

    async def _tick(self, reader: TopicReader) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await reader.abort_stuck_read()
            now = asyncio.get_running_loop().time()
            for task_id, topic in tuple(self._topics.items()):
                if now - topic.read_at >= SUBSCRIBING_SECONDS:
                    self._on_subscribed(task_id)
                if now - topic.read_at >= SILENCE_SECONDS:
                    self._on_published(task_id)


def _spawn(work: Coroutine[Any, Any, None], tasks: "set[asyncio.Task[None]]") -> None:
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
