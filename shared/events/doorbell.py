"""One subscription to the channels of many jobs: it rings, and says no more.

Belongs to the hub. Pub/sub forgets, so that every time it had to connect anew all jobs ring.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.events import keys

WAIT_SECONDS = 0.5
PAUSE_SECONDS = 0.5
"""Between two tries while Redis is away."""

_PREFIX_CHARS = len(keys.channel(""))

log = structlog.get_logger(__name__)


class Doorbell:
    """Listens for new events of jobs.

    Args:
        redis: A client of its own, which waits without a timeout.
        on_ring: Called with the task id of a job that has a new event.
        on_listening: Called with a task id from which on everything rings.
    """

    def __init__(
        self,
        redis: Redis,
        on_ring: Callable[[str], None],
        on_listening: Callable[[str], None],
    ) -> None:
        self._redis = redis
        self._on_ring = on_ring
        self._on_listening = on_listening
        self._task_ids: set[str] = set()
        self._joined: set[str] = set()
        self._left: set[str] = set()
        self._has_work = asyncio.Event()
        self._is_connected = asyncio.Event()
        # redis-py connects twice for two who speak at once.
        self._speaking = asyncio.Lock()
        self._pubsub = redis.pubsub()
        self._is_open = True

    def listen(self, task_id: str) -> None:
        """Let a job ring, soon."""
        self._task_ids.add(task_id)
        self._joined.add(task_id)
        self._has_work.set()

    def ignore(self, task_id: str) -> None:
        """Let a job ring no more."""
        self._task_ids.discard(task_id)
        self._left.add(task_id)
        self._has_work.set()

    async def run(self) -> None:
        """Listen until cancelled, over all losses of the connection."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._speak())
            tasks.create_task(self._hear())

    def stop(self) -> None:
        """Have `run` end, as a cancellation alone may not.

        `asyncio.wait_for`, which redis-py sends with, swallows one that comes as it is done
        (before Python 3.12).
        """
        self._is_open = False
        self._has_work.set()
        self._is_connected.set()

    async def close(self) -> None:
        """Give up the connection; `run` must have ended."""
        await _close(self._pubsub)
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _speak(self) -> None:
        while self._is_open:
            await self._has_work.wait()
            self._has_work.clear()
            async with self._speaking:
                # While Redis is away this is lost: `_connect_anew` asks for everything.
                with suppress(RedisError, OSError):
                    await self._tell_changes()
            self._is_connected.set()

    async def _tell_changes(self) -> None:
        left, self._left = self._left - self._task_ids, set()
        joined, self._joined = self._joined & self._task_ids, set()
        if left:
            await self._pubsub.unsubscribe(*map(keys.channel, left))
        if joined:
            await self._pubsub.subscribe(*map(keys.channel, joined))

    async def _hear(self) -> None:
        await self._is_connected.wait()
        while self._is_open:
            try:
                if not self._pubsub.subscribed and self._task_ids:
                    raise RedisConnectionError("not subscribed")
                await self._hear_one(self._pubsub)
            except (RedisError, OSError) as error:
                log.warning("doorbell lost", reason=str(error)[:200])
                await asyncio.sleep(PAUSE_SECONDS)
                await self._connect_anew()

    async def _hear_one(self, pubsub: PubSub) -> None:
        if not pubsub.subscribed:
            await asyncio.sleep(WAIT_SECONDS)
            return
        message = await pubsub.get_message(timeout=None)
        if message is None:
            return
        task_id = message["channel"][_PREFIX_CHARS:]
        if message["type"] == "message":
            self._on_ring(task_id)
        elif message["type"] == "subscribe":
            self._on_listening(task_id)

    async def _connect_anew(self) -> None:
        async with self._speaking:
            await _close(self._pubsub)
            self._pubsub = self._redis.pubsub()
            with suppress(RedisError, OSError):
                if self._task_ids:
                    await self._pubsub.subscribe(*map(keys.channel, self._task_ids))
        for task_id in tuple(self._task_ids):
            self._on_ring(task_id)


async def _close(pubsub: PubSub) -> None:
    with suppress(RedisError, OSError):
        await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py
