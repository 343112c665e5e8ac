"""Reading events: first what the stream holds, then what comes; each once, in order.

Knows Redis only. Waits at the stream itself: pub/sub forgets, and redis-py hides its gaps.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis, RedisError

from shared.errors import ServiceUnavailable
from shared.events import keys
from shared.events.model import Event, parse_event

FROM_THE_START = "0-0"
READ_AT_MOST = 500


class Follower:
    """Reads the events of jobs, for any number of threads with a connection each."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self, task_id: str, after_id: str) -> list[Event]:
        """Return the events after the given one, oldest first; `READ_AT_MOST` of them.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        with reporting_unavailability():
            entries: Any = self._redis.xrange(
                keys.stream(task_id), min=f"({after_id}", count=READ_AT_MOST
            )
        return events_of(entries)

    def wait(self, task_id: str, after_id: str, timeout_seconds: float) -> list[Event]:
        """Return the events after the given one, once there are any; none after the timeout.

        The timeout must be less than that of the connection.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        # BLOCK 0 would wait for ever.
        milliseconds = max(1, math.ceil(timeout_seconds * 1000))
        with reporting_unavailability():
            answer: Any = self._redis.xread(
                {keys.stream(task_id): after_id}, count=READ_AT_MOST, block=milliseconds
            )
        return events_of(answer[0][1]) if answer else []

    def find_last(self, task_id: str) -> Event | None:
        """Return the newest event, if the stream holds any.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        with reporting_unavailability():
            entries: Any = self._redis.xrevrange(keys.stream(task_id), count=1)
        return next(iter(events_of(entries)), None)


def events_of(entries: Any) -> list[Event]:
    """Read the entries of a stream."""
    return [parse_event(entry_id, fields["event"]) for entry_id, fields in entries]


@contextmanager
def reporting_unavailability() -> Iterator[None]:
    """Turn what the client raises into ServiceUnavailable."""
    try:
        yield
    except RedisError as error:
        raise ServiceUnavailable(f"Redis: {error}"[:200]) from error
