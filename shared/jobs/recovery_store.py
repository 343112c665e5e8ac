"""The rows of jobs as the sweep sees them: lost, due, ended without a word.

Used by processes that run no job. Rows that another sweep is working on are passed over.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.statements import Run, Statements
from shared.errors import error_record, one_line
from shared.jobs.job_store import IDEMPOTENCY_SECONDS, job_of
from shared.jobs.model import LostJob, Verdict
from shared.status import Ending, Step, failed, waiting

ANNOUNCE_AFTER_SECONDS = 1.0
"""A job that ended less long ago is being announced by the process that ended it."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of a lost job; `ending` is None when it was revived."""

    lost: LostJob
    verdict: Verdict
    ending: Ending | None


class RecoveryStore:
    """Finds and settles what no worker looks after.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    def recover_expired(self, judge: Callable[[LostJob], tuple[Verdict, int]]) -> Recovered | None:
        """Settle one job whose lease ran out; None when there is none left.

        Args:
            judge: Decides, and says the progress that followers have seen.
        """
        return self._recover("find_expired", {}, judge)

    def recover_of_dead_owner(
        self, job_id: UUID, owner: str, judge: Callable[[LostJob], tuple[Verdict, int]]
    ) -> Recovered | None:
        """Settle a job whose worker process is known to be dead; None if it held no lease."""
        return self._recover("find_of_dead_owner", {"id": str(job_id), "owner": owner}, judge)

    def withdraw_envelope(self, job_id: UUID) -> None:
        """Take the envelope of a waiting job back into its row: it is known to be gone."""
        self._run("withdraw_job", {"id": str(job_id)})

    def find_unannounced(self, limit: int) -> list[Ending]:
        """Return ended jobs whose last event may not have been published."""
        parameters = {"settle": ANNOUNCE_AFTER_SECONDS, "limit": limit}
        return [job_of(row).ending for row in self._run("find_unannounced", parameters)]

    def forget_idempotency_keys(self, limit: int) -> None:
        """Delete idempotency keys that have expired."""
        self._run("forget_keys", {"kept_seconds": IDEMPOTENCY_SECONDS, "limit": limit})

    def _recover(
        self,
        find: str,
        parameters: dict[str, Any],
        judge: Callable[[LostJob], tuple[Verdict, int]],
    ) -> Recovered | None:
        with self._run.transaction() as run:
            rows = run(find, parameters)
            if not rows:
                return None
            lost = _lost_of(rows[0])
            verdict, progress = judge(lost)
            settle = _revive if verdict.revives else _end
            return Recovered(lost, verdict, settle(run, lost, verdict, progress))


def _lost_of(row: Any) -> LostJob:
    return LostJob(
        job_id=UUID(str(row.id)),
        task_id=row.task_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        token=row.lease_token,
        progress=row.progress,
        is_cancelled=row.is_cancelled,
        reached_time_limit=row.at_limit,
    )


def _end(run: Run, lost: LostJob, verdict: Verdict, progress: int) -> Ending:
    step = failed(progress, one_line(str(verdict.error)))
    [row] = run("end_lost", _settled(lost, verdict, step))
    return Ending(
        lost.job_id,
        row.task_id,
        row.lease_token,
        step,
        row.finished_at,
        error_code=verdict.error.code,
    )


def _revive(run: Run, lost: LostJob, verdict: Verdict, _progress: int) -> None:
    step = waiting(lost.attempt + 1, lost.max_attempts)
    run("revive_lost", _settled(lost, verdict, step))


def _settled(lost: LostJob, verdict: Verdict, step: Step) -> dict[str, Any]:
    return {
        "id": str(lost.job_id),
        "progress": step.progress,
        "message": step.message,
        "error": json.dumps(error_record(verdict.error, lost.attempt)),
    }
