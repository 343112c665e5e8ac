"""One subscription to the channels of many jobs: says which job has new events, not which ones.

Belongs to the hub. Pub/sub loses what is published while its connection is down, so each new
connection reports every job.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.errors import one_line
from shared.events.keys import Keys

IDLE_SECONDS = 0.5
RECONNECT_SECONDS = 0.5
"""Between two attempts to connect while Redis is unavailable."""

log = structlog.get_logger(__name__)


class ChannelConnection:
    """Subscribes to the channels of jobs over one connection.

    Args:
        redis: A client of its own, which waits without a timeout.
        on_published: Called with the task id of a job that has a new event.
        on_subscribed: Called with a task id whose events are reported from now on.
        keys: The names of the installation.
    """

    def __init__(
        self,
        redis: Redis,
        on_published: Callable[[str], None],
        on_subscribed: Callable[[str], None],
        keys: Keys,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._on_published = on_published
        self._on_subscribed = on_subscribed
        self._task_ids: set[str] = set()
        self._added: set[str] = set()
        self._removed: set[str] = set()
        self._has_changes = asyncio.Event()
        self._is_connected = asyncio.Event()
        # redis-py opens two connections if two tasks send at once.
        self._sending = asyncio.Lock()
        self._pubsub = redis.pubsub()
        self._is_open = True

    def subscribe(self, task_id: str) -> None:
        """Subscribe to the channel of a job, soon."""
        self._task_ids.add(task_id)
        self._added.add(task_id)
        self._has_changes.set()

    def unsubscribe(self, task_id: str) -> None:
        """Unsubscribe from the channel of a job, soon."""
        self._task_ids.discard(task_id)
        self._removed.add(task_id)
        self._has_changes.set()

    async def run(self) -> None:
        """Send changes and receive messages until cancelled; reconnect whenever Redis is lost."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_changes())
            tasks.create_task(self._receive())

    def stop(self) -> None:
        """End `run`; a cancellation alone may not.

        Before Python 3.12 `asyncio.wait_for`, which redis-py sends with, swallows a cancellation
        that comes at the moment it completes.
        """
        self._is_open = False
        self._has_changes.set()
        self._is_connected.set()

    async def close(self) -> None:
        """Close the connection; `run` must have ended."""
        await _close(self._pubsub)
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _send_changes(self) -> None:
        while self._is_open:
            await self._has_changes.wait()
            self._has_changes.clear()
            async with self._sending:
                removed, self._removed = self._removed - self._task_ids, set()
                added, self._added = self._added & self._task_ids, set()
                # What is lost here is made up for by `_reconnect`, which sends everything.
                with suppress(RedisError, OSError):
                    if removed:
                        await self._pubsub.unsubscribe(*map(self._keys.channel, removed))
                    if added:
                        await self._pubsub.subscribe(*map(self._keys.channel, added))
            self._is_connected.set()

    async def _receive(self) -> None:
        await self._is_connected.wait()
        while self._is_open:
            try:
                if not self._pubsub.subscribed and self._task_ids:
                    raise RedisConnectionError("not subscribed")
                await self._receive_one(self._pubsub)
            except (RedisError, OSError) as error:
                log.warning("subscription lost", reason=one_line(str(error)))
                await asyncio.sleep(RECONNECT_SECONDS)
                await self._reconnect()

    async def _receive_one(self, pubsub: PubSub) -> None:
        if not pubsub.subscribed:
            await asyncio.sleep(IDLE_SECONDS)
            return
        message = await pubsub.get_message(timeout=None)
        if message is None:
            return
        task_id = message["channel"].removeprefix(self._keys.channel(""))
        if message["type"] == "message":
            self._on_published(task_id)
        elif message["type"] == "subscribe":
            self._on_subscribed(task_id)

    async def _reconnect(self) -> None:
        async with self._sending:
            await _close(self._pubsub)
            self._pubsub = self._redis.pubsub()
            with suppress(RedisError, OSError):
                if self._task_ids:
                    await self._pubsub.subscribe(*map(self._keys.channel, self._task_ids))
        for task_id in tuple(self._task_ids):
            self._on_published(task_id)


async def _close(pubsub: PubSub) -> None:
    with suppress(RedisError, OSError):
        await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py
