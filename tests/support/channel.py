"""The Redis channel of a job as any subscriber sees it."""

import time
from contextlib import AbstractContextManager
from typing import Any, Self

RedisClient = Any
"""A `redis.Redis`, whose types say of every answer that it may have to be awaited."""


class ChannelReader(AbstractContextManager["ChannelReader"]):
    """Collects the messages of one channel, byte for byte, from the moment it is entered."""

    def __init__(self, redis: RedisClient, channel: str) -> None:
        self._pubsub = redis.pubsub()
        self._channel = channel
        self.messages: list[str] = []

    def __enter__(self) -> Self:
        self._pubsub.subscribe(self._channel)
        message = self._pubsub.get_message(timeout=5)
        assert message is not None
        assert message["type"] == "subscribe"
        return self

    def __exit__(self, *_error: object) -> None:
        self._pubsub.close()

    def read(self, count: int, within: float = 5) -> list[str]:
        """Wait for so many messages in all and return those that came, even if fewer."""
        deadline = time.monotonic() + within
        while len(self.messages) < count and time.monotonic() < deadline:
            self._take(0.05)
        self._take(0)
        return self.messages

    def _take(self, timeout: float) -> None:
        message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout)
        if message is not None:
            self.messages.append(message["data"])
