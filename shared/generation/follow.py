"""Following a job to its end from a thread: its stream, and its row where the stream is silent."""

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

from shared.errors import ServiceUnavailable
from shared.events.event import FROM_THE_START, Event, follows, is_of_row, row_event
from shared.events.reader import StreamReader
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job

WAIT_SECONDS = 0.8
"""Less than the timeout of the connection to Redis."""

ROW_SECONDS = 3.0
"""The row is read after so long without an event: it holds the end, whatever Redis lost."""


class EventFollower:
    """Reads the events of jobs, and their ends from their rows; for any number of threads."""

    def __init__(self, jobs: JobStore, reader: StreamReader) -> None:
        self._jobs = jobs
        self._reader = reader

    def follow(
        self, job_id: UUID, workspace_id: str | None = None, after_id: str = FROM_THE_START
    ) -> Iterator[Event]:
        """Yield every event after the given one, once and in order; end with the last.

        If Redis is unavailable, or lost the stream, the last event is made from the row.

        Raises:
            UnknownJob: The job does not exist, or belongs to another workspace.
            ServiceUnavailable: Neither Redis nor PostgreSQL can be reached.
        """
        job = self._jobs.get(job_id, workspace_id)
        after_id = self.find_start(job, after_id)
        while True:
            for event in self.wait(job, after_id, math.inf):
                after_id = event.id
                yield event
                if event.is_last:
                    return

    def find_start(self, job: Job, after_id: str) -> str:
        """Return the given id, or the end of the stream if the id is ahead of it."""
        with suppress(ServiceUnavailable):
            return self._reader.find_start(job.task_id, after_id)
        return after_id

    def wait(self, job: Job, after_id: str, until: float) -> list[Event]:
        """Return the events after the given one, once there are any; none after `until`.

        `until` is a time of `time.monotonic()`.

        Raises:
            ServiceUnavailable: Neither Redis nor PostgreSQL can be reached.
        """
        row_at = time.monotonic() + ROW_SECONDS
        while True:
            left_seconds = max(0.0, min(WAIT_SECONDS, until - time.monotonic()))
            try:
                events = self._reader.read(job.task_id, after_id, left_seconds)
            except ServiceUnavailable:
                time.sleep(left_seconds)
                events = self.find_rest(job, after_id)
            else:
                if not events and time.monotonic() >= row_at:
                    row_at = time.monotonic() + ROW_SECONDS
                    # Events still come while PostgreSQL is unavailable.
                    with suppress(ServiceUnavailable):
                        events = self.find_rest(job, after_id)
            if events or time.monotonic() >= until:
                return events

    def read(self, job: Job, after_id: str) -> list[Event]:
        """Return the first events after the given one that the stream has.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        return self._reader.read(job.task_id, after_id)

    def find_rest(self, job: Job, after_id: str) -> list[Event]:
        """Return the remaining events of a job that has ended; none while it runs.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        for row in self._jobs.find_ended([job.id]):
            rest: list[Event] = []
            with suppress(ServiceUnavailable):
                while late := self._reader.read(job.task_id, after_id):
                    rest += late
                    after_id = late[-1].id
            if not any(event.is_last for event in rest):
                rest.append(row_event(row.step, row.ending.finished_at, after_id))
            return rest
        return []

    def is_complete(self, job: Job, after_id: str) -> bool:
        """Return whether nothing follows the given event of a job that has ended.

        False while Redis is unavailable: the last event is then delivered again, from the row.
        """
        if is_of_row(after_id):
            return True
        try:
            last = self._reader.find_last(job.task_id)
        except ServiceUnavailable:
            return False
        return last is not None and last.is_last and not follows(last.id, after_id)
