"""The sweep: the only recovery path. Revives or ends lost jobs, dispatches, announces.

Run by every Celery worker's main process, by the scheduled Lambda function and by
`darkroom sweep`; safe to run anywhere, at any time, several at once.
"""

from dataclasses import asdict, dataclass, replace
from uuid import UUID

import structlog

from shared.errors import ServiceUnavailable
from shared.events.publisher import EventPublisher
from shared.generation.announce import Announcer
from shared.generation.delete import Deleter
from shared.generation.release import Releaser
from shared.jobs.model import LostJob, Verdict, judge_lost
from shared.jobs.recovery_store import Recovered, RecoveryStore

BATCH = 100
"""Most jobs of each kind in one sweep: the next one goes on."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep did, in numbers of jobs."""

    revived: int
    ended: int
    dispatched: int
    announced: int
    deleted: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return not any(asdict(self).values())


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended jobs are kept.

    Attributes:
        days: Counted from their end.
    """

    deleter: Deleter
    days: float

    def apply(self, limit: int) -> int:
        """Delete some of those whose time is over; return how many."""
        return self.deleter.delete_outdated(self.days, limit)


class Sweeper:
    """Finishes what workers, publishers and dispatchers left undone.

    Args:
        time_limit_seconds: Only for the wording of the errors.
        retention: What becomes of old jobs; None keeps them for ever.
    """

    def __init__(
        self,
        recovery: RecoveryStore,
        publisher: EventPublisher,
        announcer: Announcer,
        releaser: Releaser,
        *,
        time_limit_seconds: float,
        retention: Retention | None = None,
    ) -> None:
        self._recovery = recovery
        self._publisher = publisher
        self._announcer = announcer
        self._releaser = releaser
        self._time_limit_seconds = time_limit_seconds
        self._retention = retention

    def sweep(self) -> SweepReport:
        """Do what is to be done now, and say how much it was.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        revived, ended = self._recover_expired()
        announced = sum(
            self._announcer.announce(ending) for ending in self._recovery.find_unannounced(BATCH)
        )
        dispatched = self._release()
        self._recovery.forget_idempotency_keys(BATCH)
        deleted = 0 if self._retention is None else self._retention.apply(BATCH)
        report = SweepReport(revived, ended, dispatched, announced, deleted)
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

        def judge(lost: LostJob) -> tuple[Verdict, int]:
            if at_time_limit:
                lost = replace(lost, reached_time_limit=True)
            return self._judge(lost)

        recovered = self._recovery.recover_of_dead_owner(job_id, owner, judge)
        if recovered is None:
            # It died before its claim: the broker has acknowledged the envelope all the same.
            self._recovery.withdraw_envelope(job_id)
        else:
            self._report(recovered)
        self._releaser.release()

    def _recover_expired(self) -> tuple[int, int]:
        revived = ended = 0
        for _ in range(BATCH):
            recovered = self._recovery.recover_expired(self._judge)
            if recovered is None:
                break
            self._report(recovered)
            revived += recovered.verdict.revives
            ended += not recovered.verdict.revives
        return revived, ended

    def _judge(self, lost: LostJob) -> tuple[Verdict, int]:
        verdict = judge_lost(lost, self._time_limit_seconds)
        seen = self._publisher.find_last_progress(lost.task_id)
        return verdict, max(lost.progress, seen or 0)

    def _report(self, recovered: Recovered) -> None:
        lost = recovered.lost
        log.warning(
            "job recovered",
            job_id=str(lost.job_id),
            task_id=lost.task_id,
            attempt=lost.attempt,
            code=recovered.verdict.error.code,
            revived=recovered.verdict.revives,
        )
        if recovered.ending is not None:
            self._announcer.announce(recovered.ending)
        else:
            self._publisher.publish_waiting(
                lost.task_id,
                token=lost.token + 1,
                attempt=lost.attempt + 1,
                max_attempts=lost.max_attempts,
            )

    def _release(self) -> int:
        try:
            self._releaser.replace_lost()
        except ServiceUnavailable as error:
            log.warning("lost envelopes not looked for", reason=str(error))
        return self._releaser.release()
