"""Following a job to its end: the stream while it speaks, the row when it does not."""

import time
from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

from shared.errors import ServiceUnavailable
from shared.events.follower import FROM_THE_START, Follower
from shared.events.model import Event
from shared.jobs.model import Job
from shared.jobs.store import JobStore

BELL_SECONDS = 1.0
ROW_SECONDS = 3.0
"""After so long without an event the row is read: it knows the end, whatever Redis lost."""


class JobFollower:
    """Reads the events of jobs for one thread."""

    def __init__(self, jobs: JobStore, follower: Follower) -> None:
        self._jobs = jobs
        self._follower = follower

    def follow(
        self, job_id: UUID, workspace_id: str | None = None, after_id: str = FROM_THE_START
    ) -> Iterator[Event]:
        """Yield every event after the given one, once and in order; end with the last.

        When Redis is away or has forgotten, the last event is read from the row instead; its
        id is then None.

        Raises:
            UnknownJob: There is no such job (in that workspace).
            ServiceUnavailable: Neither Redis nor PostgreSQL can be reached.
        """
        job = self._jobs.get(job_id, workspace_id)
        while True:
            try:
                for event in self._listen(job, after_id):
                    after_id = event.id or after_id
                    yield event
                    if event.is_last:
                        return
            except ServiceUnavailable:
                time.sleep(BELL_SECONDS)
                left = self._find_rest(job, after_id)
                yield from left
                if left:
                    return

    def _listen(self, job: Job, after_id: str) -> Iterator[Event]:
        with self._follower.subscribed(job.task_id) as bell:
            silent_since = time.monotonic()
            while True:
                for event in self._follower.read(job.task_id, after_id):
                    after_id, silent_since = event.id or after_id, time.monotonic()
                    yield event
                if time.monotonic() - silent_since >= ROW_SECONDS:
                    silent_since = time.monotonic()
                    # As long as Redis answers, PostgreSQL may be away.
                    with suppress(ServiceUnavailable):
                        yield from self._find_rest(job, after_id)
                bell.wait(BELL_SECONDS)

    def _find_rest(self, job: Job, after_id: str) -> list[Event]:
        """Return what is left to tell of a job that has ended; nothing while it has not."""
        row = self._jobs.get(job.id)
        if not row.status.is_terminal:
            return []
        rest: list[Event] = []
        with suppress(ServiceUnavailable):
            while late := self._follower.read(job.task_id, after_id):
                rest += late
                after_id = late[-1].id or after_id
        if not any(event.is_last for event in rest):
            rest.append(Event(None, row.step))
        return rest
