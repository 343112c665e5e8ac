"""Reading the stream of one job, from a thread: what it holds, then what comes.

Knows Redis only. Waits at the stream itself, because pub/sub loses messages while a connection is
down, and redis-py hides when it was.
"""

import math
from typing import Any

from redis import Redis

from shared.events.connection import reporting_unavailability
from shared.events.event import FROM_THE_START, Event, bounded, parse_entries
from shared.events.keys import Keys, unprefixed

READ_AT_MOST = 500


class StreamReader:
    """Reads the events of jobs, oldest first, for any number of threads.

    Every method raises ServiceUnavailable when Redis cannot be reached.
    """

    def __init__(self, redis: Redis, keys: Keys = unprefixed) -> None:
        self._redis = redis
        self._keys = keys

    def read(self, task_id: str, after_id: str, wait_seconds: float | None = None) -> list[Event]:
        """Return the events after the given one.

        Args:
            task_id: Of the job.
            after_id: Of an event, or `FROM_THE_START`.
            wait_seconds: If there is none, wait so long for one: less than the connection's
                timeout. None does not wait.
        """
        # BLOCK 0 would wait for ever.
        block = None if wait_seconds is None else max(1, math.ceil(wait_seconds * 1000))
        while True:
            with reporting_unavailability():
                answer: Any = self._redis.xread(
                    {self._keys.stream(task_id): after_id}, count=READ_AT_MOST, block=block
                )
            if not answer:
                return []
            entries = answer[0][1]
            if events := parse_entries(entries):
                return events
            after_id = entries[-1][0]

    def find_start(self, task_id: str, after_id: str) -> str:
        """Return the given id, or the end of the stream if the id is ahead of it."""
        if after_id == FROM_THE_START:
            return after_id
        with reporting_unavailability():
            newest: Any = self._redis.xrevrange(self._keys.stream(task_id), count=1)
        return bounded(after_id, newest)

    def find_last(self, task_id: str) -> Event | None:
        """Return the newest event; None if the stream holds none."""
        with reporting_unavailability():
            entries: Any = self._redis.xrevrange(self._keys.stream(task_id), count=1)
        return next(iter(parse_entries(entries)), None)
