"""Reading the stream of one job, from a thread: what it holds, then what comes.

Knows Redis only. Waits at the stream itself, because pub/sub loses messages while a connection is
down, and redis-py hides when it was.
"""

import math
from typing import Any

from redis import Redis

from shared.events import keys
from shared.events.connection import reporting_unavailability
from shared.events.event import Event, parse_entries

READ_AT_MOST = 500


class StreamReader:
    """Reads the events of jobs, oldest first, for any number of threads.

    Every method raises ServiceUnavailable when Redis cannot be reached.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self, task_id: str, after_id: str) -> list[Event]:
        """Return the events after the given one; none if there are no more."""
        while True:
            with reporting_unavailability():
                entries: Any = self._redis.xrange(
                    keys.stream(task_id), min=f"({after_id}", count=READ_AT_MOST
                )
            events = parse_entries(entries)
            if events or not entries:
                return events
            after_id = entries[-1][0]

    def wait(self, task_id: str, after_id: str, timeout_seconds: float) -> list[Event]:
        """Return the events after the given one, once there are any; none after the timeout.

        The timeout must be less than that of the connection.
        """
        # BLOCK 0 would wait for ever.
        milliseconds = max(1, math.ceil(timeout_seconds * 1000))
        while True:
            with reporting_unavailability():
                answer: Any = self._redis.xread(
                    {keys.stream(task_id): after_id}, count=READ_AT_MOST, block=milliseconds
                )
            if not answer:
                return []
            entries = answer[0][1]
            if events := parse_entries(entries):
                return events
            after_id = entries[-1][0]

    def find_last(self, task_id: str) -> Event | None:
        """Return the newest event; None if the stream holds none."""
        with reporting_unavailability():
            entries: Any = self._redis.xrevrange(keys.stream(task_id), count=1)
        return next(iter(parse_entries(entries)), None)
