"""Reading events: first what the stream holds, then what comes; each once, in order.

Knows Redis only. Pub/sub forgets, and redis-py hides its gaps, so a message on the channel is
no more than a doorbell: events are always read from the stream.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis, RedisError
from redis.client import PubSub

from shared.errors import ServiceUnavailable
from shared.events import keys
from shared.events.model import Event, parse_event

FROM_THE_START = "0-0"
READ_AT_MOST = 500


class Follower:
    """Reads the events of one job at a time; a client of its own, for one thread."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @contextmanager
    def subscribed(self, task_id: str) -> Iterator["Doorbell"]:
        """Listen for new events; what the stream gets after this line rings.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        pubsub = self._redis.pubsub()  # type: ignore[no-untyped-call] # redis-py
        try:
            with _reporting_unavailability():
                pubsub.subscribe(keys.channel(task_id))
                pubsub.get_message(timeout=1.0)
            yield Doorbell(pubsub)
        finally:
            pubsub.close()

    def read(self, task_id: str, after_id: str) -> list[Event]:
        """Return the events after the given one, oldest first.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        with _reporting_unavailability():
            entries: Any = self._redis.xrange(
                keys.stream(task_id), min=f"({after_id}", count=READ_AT_MOST
            )
        return [parse_event(entry_id, fields["event"]) for entry_id, fields in entries]


class Doorbell:
    """Rings when the job's channel got a message."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub

    def wait(self, timeout_seconds: float) -> bool:
        """Return whether it rang within the time.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        with _reporting_unavailability():
            return self._pubsub.get_message(timeout=timeout_seconds) is not None


@contextmanager
def _reporting_unavailability() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise ServiceUnavailable(f"Redis: {error}"[:200]) from error
