"""The sweep: the only recovery path. Revives or ends lost jobs, announces ends, releases.

Run by every Celery worker's main process, by the scheduled Lambda function and by
`darkroom sweep`; safe to run anywhere, at any time, several at once.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TypeVar
from uuid import UUID

import structlog

from shared.errors import DarkroomError, ServiceUnavailable, one_line
from shared.events.publisher import EventPublisher
from shared.generation.announce import Announcer
from shared.generation.release import Releaser
from shared.generation.saved_images import SavedImages
from shared.jobs.model import Job, LostJob
from shared.jobs.recovery_store import RecoveryStore

STEP_SECONDS = 10.0
"""How long one step of a sweep goes on: the next sweep continues."""

BATCH = 100
"""Jobs that one statement finds."""

AroundEach = Callable[[], AbstractContextManager[object]]

log = structlog.get_logger(__name__)
T = TypeVar("T", LostJob, Job)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep did, in numbers of jobs.

    Attributes:
        skipped: Jobs that an error kept from being recovered or announced; the next sweep tries
            again.
    """

    revived: int
    ended: int
    dispatched: int
    announced: int
    skipped: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return not any(asdict(self).values())


class Sweeper:
    """Finishes what workers, publishers and dispatchers left undone.

    Its steps do not depend on each other, and neither do the jobs of one step: one that cannot be
    settled is skipped.

    Args:
        time_limit_seconds: Only for the wording of the errors.
        count_metrics: Adds the jobs that have ended to the totals of metrics.
    """

    def __init__(
        self,
        recovery: RecoveryStore,
        publisher: EventPublisher,
        announcer: Announcer,
        releaser: Releaser,
        saved: SavedImages,
        *,
        time_limit_seconds: float,
        count_metrics: Callable[[], object] = lambda: None,
    ) -> None:
        self._recovery = recovery
        self._publisher = publisher
        self._announcer = announcer
        self._releaser = releaser
        self._saved = saved
        self._time_limit_seconds = time_limit_seconds
        self._count_metrics = count_metrics

    def sweep(self, around_each: AroundEach = nullcontext) -> SweepReport:
        """Work until nothing is left, or each step has used its time; say how much was done.

        Args:
            around_each: Entered for the length of each piece of work.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        recovered, failures = _each(self._recovery.find_lost, self._recover, around_each)
        late, more = _each(self._recovery.end_late, self._announce_late, around_each)
        announced, most = _each(self._recovery.find_unannounced, self._announce, around_each)
        with around_each():
            self._replace_lost()
        with around_each():
            dispatched = self._releaser.release()
        with around_each():
            self._count()
        revived = sum(job.finished_at is None for job in recovered)
        ended = len(recovered) - revived + len(late)
        report = SweepReport(revived, ended, dispatched, len(announced), failures + more + most)
        if not report.is_empty:
            log.info("swept", **asdict(report))
        return report

    def recover_of_dead_worker(self, job_id: UUID, owner: str, *, at_time_limit: bool) -> None:
        """Settle a job at once whose worker process is known to have died.

        Args:
            job_id: The job that the process was given; it may not have claimed it yet.
            owner: The dead process, as it stands in `lease_owner`.
            at_time_limit: Whether it was killed for running too long.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached; the next sweeps see to it.
        """
        lost = self._recovery.find_of_dead_owner(job_id, owner)
        if lost is None:
            # It died before its claim: the broker has acknowledged the envelope all the same.
            self._recovery.withdraw_envelope(job_id)
        else:
            self._recover(
                replace(lost, reached_time_limit=lost.reached_time_limit or at_time_limit)
            )
        self._releaser.release()

    def _announce_late(self, job: Job) -> Job:
        log.info("job not started in time", job_id=str(job.id))
        self._announcer.announce(job.ending)
        return job

    def _replace_lost(self) -> None:
        try:
            self._releaser.replace_lost()
        except ServiceUnavailable as error:
            log.warning("lost envelopes not looked for", reason=str(error))

    def _count(self) -> None:
        try:
            self._count_metrics()
        except Exception as error:  # Numbers must not keep a sweep from its report.
            log.warning("metrics not counted", reason=one_line(str(error)))

    def _recover(self, lost: LostJob) -> Job | None:
        error = lost.judge(self._time_limit_seconds)
        seen = self._publisher.find_last_progress(lost.task_id)
        job = None
        if not lost.revives_after(error):
            job = self._saved.complete(lost, error)
        if job is None:
            job = self._recovery.settle(lost, error, max(lost.progress, seen))
        if job is None:
            return None
        log.warning(
            "job recovered",
            job_id=str(job.id),
            task_id=job.task_id,
            attempt=lost.attempt,
            code=error.code,
            revived=job.finished_at is None,
        )
        if job.finished_at is None:
            self._publisher.publish_waiting(
                job.task_id,
                token=job.lease_token,
                attempt=lost.attempt + 1,
                max_attempts=lost.max_attempts,
            )
        else:
            self._announcer.announce(job.ending)
        return job

    def _announce(self, job: Job) -> Job | None:
        # A Redis that has just failed is not asked again for each of them.
        is_announced = not self._publisher.is_paused and self._announcer.announce(job.ending)
        return job if is_announced else None


def _each(
    find: Callable[[int], list[T]], work: Callable[[T], Job | None], around_each: AroundEach
) -> tuple[list[Job], int]:
    """Work on all that is found; return what was done, and the number of errors.

    What was not done is passed over.
    """
    until = time.monotonic() + STEP_SECONDS
    done: list[Job] = []
    passed_over: set[UUID] = set()
    errors = 0
    while time.monotonic() < until:
        try:
            with around_each():
                found = find(BATCH + len(passed_over))
        except ServiceUnavailable as error:
            log.warning("step of the sweep ended", reason=str(error))
            break
        items = [item for item in found if item.id not in passed_over]
        if not items:
            break
        for item in items:
            if time.monotonic() >= until:
                break
            job = None
            try:
                with around_each():
                    job = work(item)
            except Exception as error:  # One broken job must not keep others from their recovery.
                errors += 1
                is_known = isinstance(error, DarkroomError)
                reason = one_line(f"{type(error).__name__}: {error}")
                log.warning(
                    "job skipped", job_id=str(item.id), reason=reason, exc_info=not is_known
                )
            if job is None:
                passed_over.add(item.id)
            else:
                done.append(job)
    return done, errors
