"""A subscriber of all jobs' channels, for as long as a runtime is tested."""

import contextlib
import threading
import time
from uuid import uuid4

from redis.exceptions import RedisError

from shared.events.connection import connect_redis
from shared.events.keys import Keys, unprefixed

MARK_SECONDS = 1.0
"""How long a message may be on its way; longer when the subscriber is being reconnected."""


class ChannelTap:
    """Keeps every message of all jobs' channels, as a subscriber of Redis gets them."""

    def __init__(self, url: str, keys: Keys = unprefixed) -> None:
        self._redis = connect_redis(url)
        self._keys = keys
        self._mark_channel = keys.channel("mark-of-the-tap")
        self._messages: list[tuple[str, str]] = []
        self._mark = ""
        self._is_listening = threading.Event()
        self._is_closed = False
        threading.Thread(target=self._listen, name="channel-tap", daemon=True).start()
        assert self._is_listening.wait(10)

    def of(self, task_id: str) -> list[str]:
        """Return the messages of one job that were published so far, byte for byte.

        All of them have arrived, unless Redis is unavailable: it is asked to send one more.
        """
        with contextlib.suppress(RedisError):
            mark = uuid4().hex
            self._redis.publish(self._mark_channel, mark)
            give_up_at = time.monotonic() + MARK_SECONDS
            while self._mark != mark and time.monotonic() < give_up_at:
                time.sleep(0.001)
        wanted = self._keys.channel(task_id)
        return [data for channel, data in self._messages if channel == wanted]

    def close(self) -> None:
        """Stop listening."""
        self._is_closed = True
        self._redis.close()

    def _listen(self) -> None:
        while not self._is_closed:
            with contextlib.suppress(RedisError, OSError, ValueError):
                self._listen_while_connected()
            time.sleep(0.05)

    def _listen_while_connected(self) -> None:
        with self._redis.pubsub() as pubsub:  # type: ignore[no-untyped-call] # redis-py
            pubsub.psubscribe(self._keys.channel("*"))
            while not self._is_closed:
                message = pubsub.get_message(timeout=0.2)
                if message and message["type"] == "psubscribe":
                    self._is_listening.set()
                if message and message["channel"] == self._mark_channel:
                    self._mark = message["data"]
                elif message and message["type"] == "pmessage":
                    self._messages.append((message["channel"], message["data"]))
