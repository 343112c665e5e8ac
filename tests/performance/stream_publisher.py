"""A process that publishes events as the worker does, each with the moment it was published.

The first line of its input is the JSON list of task ids. Each later line is an order: `spread
SECONDS` sends every job an event a second, evenly spread; `burst` one to every job, with one write.
Answers with the moments of the first and the last, in nanoseconds of CLOCK_MONOTONIC.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Sequence

from redis import Redis

from shared.events.connection import connect_redis
from shared.events.keys import unprefixed as keys
from shared.events.publisher import Entry, EventPublisher
from shared.status import JobStatus, Step

NANOSECONDS = 1_000_000_000


class _Publisher:
    def __init__(self, redis: Redis, task_ids: Sequence[str]) -> None:
        self._redis = redis
        self._events = EventPublisher(redis, ttl_seconds=3_600, stream_length=1_000)
        self._task_ids = task_ids
        self._token = time.time_ns() // 1_000_000
        self._sequence = 0

    def spread(self, seconds: float) -> None:
        """Send `seconds` events to every job, each at its own moment of the second."""
        begin, count = time.monotonic_ns(), len(self._task_ids)
        for number in range(int(count * seconds)):
            wait = begin + number * NANOSECONDS // count - time.monotonic_ns()
            if wait > 0:
                time.sleep(wait / NANOSECONDS)
            if number % count == 0:
                self._sequence += 1
            self._send(self._task_ids[number % count])

    def burst(self) -> None:
        """Send one event to every job, with one write to Redis."""
        self._sequence += 1
        stamp = time.monotonic_ns()
        pipeline = self._redis.pipeline(transaction=False)
        for task_id in self._task_ids:
            names = [keys.stream(task_id), keys.fence(task_id), keys.celery_record(task_id)]
            # The publisher itself sends one after the other.
            arguments = self._events._arguments(self._entry(task_id, stamp))
            self._events._append(keys=names, args=arguments, client=pipeline)
        pipeline.execute()

    def _send(self, task_id: str) -> None:
        outcome = self._events.append(self._entry(task_id, time.monotonic_ns())).outcome
        if outcome != "appended":
            sys.exit(f"an event was not appended but {outcome}")

    def _entry(self, task_id: str, stamp: int) -> Entry:
        step = Step(JobStatus.PROCESSING, 50, str(stamp))
        return Entry(task_id, self._token, self._sequence, 1, 3, "running", step)


def main() -> None:
    """Obey until the input ends."""
    publisher = _Publisher(connect_redis(os.environ["REDIS_URL"]), json.loads(sys.stdin.readline()))
    gc.disable()
    for line in sys.stdin:
        order, _, argument = line.strip().partition(" ")
        begin = time.monotonic_ns()
        if order == "spread":
            publisher.spread(float(argument))
        else:
            publisher.burst()
        print(begin, time.monotonic_ns(), flush=True)


if __name__ == "__main__":
    main()
