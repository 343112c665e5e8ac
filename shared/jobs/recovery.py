"""The rows of jobs as the sweep sees them: lost, due, ended without a word.

Used by processes that run no job. Rows that another sweep is working on are passed over.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from shared.database.session import reporting_unavailability
from shared.database.statements import execute, fetch_all
from shared.errors import error_record, one_line
from shared.jobs.acceptance import IDEMPOTENCY_SECONDS
from shared.jobs.model import LostJob, Verdict, ending_of
from shared.status import Ending, JobStatus, Step, failed, waiting

_LOST_COLUMNS = """
    id, task_id, attempt, max_attempts, lease_token, progress,
    cancel_requested_at IS NOT NULL AS is_cancelled, lease_until >= time_limit_at AS at_limit
"""

_FIND_EXPIRED = f"""
    SELECT {_LOST_COLUMNS} FROM generation_jobs
    WHERE status = 'PROCESSING' AND lease_until < now()
    ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED
"""

_FIND_OF_DEAD_OWNER = f"""
    SELECT {_LOST_COLUMNS} FROM generation_jobs
    WHERE id = %(id)s AND status = 'PROCESSING' AND lease_owner = %(owner)s
    FOR UPDATE
"""

_END_LOST = """
    WITH ended AS (
        UPDATE generation_jobs SET
            status = 'FAILED', progress = %(progress)s, message = %(message)s,
            error = %(error)s, finished_at = now(), lease_token = lease_token + 1,
            lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
        WHERE id = %(id)s
        RETURNING id, task_id, lease_token, finished_at
    ), closed AS (
        UPDATE generation_attempts SET
            finished_at = now(), outcome = 'lost', error = %(error)s
        WHERE job_id = %(id)s AND finished_at IS NULL
    )
    SELECT task_id, lease_token, finished_at FROM ended
"""

_REVIVE_LOST = """
    WITH revived AS (
        UPDATE generation_jobs SET
            status = 'PENDING', progress = %(progress)s, message = %(message)s,
            error = %(error)s, next_attempt_at = now(), dispatched_at = NULL, dispatches = 0,
            lease_token = lease_token + 1,
            lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
        WHERE id = %(id)s
        RETURNING id
    )
    UPDATE generation_attempts SET finished_at = now(), outcome = 'lost', error = %(error)s
    WHERE job_id = %(id)s AND finished_at IS NULL
"""

_FORGET_DISPATCH = """
    UPDATE generation_jobs SET dispatched_at = NULL
    WHERE id = %(id)s AND status = 'PENDING'
        AND (next_attempt_at IS NULL OR next_attempt_at <= now())
"""

# The grace doubles with each dispatch (to 64 times), so that a long queue does not fill up with
# copies of the envelopes it already holds.
_TAKE_DUE = """
    UPDATE generation_jobs SET dispatched_at = now(), dispatches = dispatches + 1
    WHERE id IN (
        SELECT id FROM generation_jobs
        WHERE status = 'PENDING' AND (next_attempt_at IS NULL OR next_attempt_at <= now())
            AND (dispatched_at IS NULL OR dispatched_at < now() - make_interval(
                secs => %(grace)s * 2 ^ least(greatest(dispatches - 1, 0), 6)))
        ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    RETURNING id, task_id, attempt, max_attempts, lease_token
"""

_FIND_UNANNOUNCED = """
    SELECT id, task_id, lease_token, status, progress, message, result, error, finished_at,
        attempt, max_attempts
    FROM generation_jobs
    WHERE finished_at IS NOT NULL AND announced_at IS NULL
        AND finished_at < now() - make_interval(secs => %(settle)s)
    ORDER BY finished_at LIMIT %(limit)s
"""

_FORGET_KEYS = """
    DELETE FROM idempotency_keys WHERE (workspace_id, key) IN (
        SELECT workspace_id, key FROM idempotency_keys
        WHERE created_at < now() - make_interval(secs => %(kept_seconds)s)
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
"""

ANNOUNCE_AFTER_SECONDS = 1.0
"""A job that ended less long ago is being announced by whoever ended it."""


@dataclass(frozen=True, slots=True)
class DueJob:
    """A waiting job that is due and whose envelope is not known to be on its way."""

    job_id: UUID
    task_id: str
    next_attempt: int
    max_attempts: int
    token: int

    @property
    def step(self) -> Step:
        """The step that a follower of this job must have seen before it runs."""
        return waiting(self.next_attempt, self.max_attempts)


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
        self._engine = engine

    def recover_expired(self, judge: Callable[[LostJob], tuple[Verdict, int]]) -> Recovered | None:
        """Settle one job whose lease ran out; None when there is none left.

        Args:
            judge: Decides, and says the progress that followers have seen.
        """
        return self._recover(_FIND_EXPIRED, {}, judge)

    def recover_of_dead_owner(
        self, job_id: UUID, owner: str, judge: Callable[[LostJob], tuple[Verdict, int]]
    ) -> Recovered | None:
        """Settle a job whose worker process is known to be dead; None if it held no lease."""
        return self._recover(_FIND_OF_DEAD_OWNER, {"id": str(job_id), "owner": owner}, judge)

    def forget_dispatch(self, job_id: UUID) -> None:
        """Count a waiting job's envelope as gone, so that it is dispatched again at once."""
        execute(self._engine, _FORGET_DISPATCH, {"id": str(job_id)})

    def take_due(self, grace_seconds: float, limit: int) -> list[DueJob]:
        """Return jobs to dispatch now, and count them as dispatched."""
        parameters = {"grace": grace_seconds, "limit": limit}
        return [
            DueJob(
                UUID(str(row.id)), row.task_id, row.attempt + 1, row.max_attempts, row.lease_token
            )
            for row in fetch_all(self._engine, _TAKE_DUE, parameters)
        ]

    def find_unannounced(self, limit: int) -> list[Ending]:
        """Return ended jobs of whose end no follower may have heard."""
        parameters = {"settle": ANNOUNCE_AFTER_SECONDS, "limit": limit}
        rows = fetch_all(self._engine, _FIND_UNANNOUNCED, parameters)
        return [
            ending_of(
                UUID(str(row.id)),
                row.task_id,
                row.lease_token,
                Step(JobStatus[row.status], row.progress, row.message),
                row.finished_at,
                result=row.result,
                error=row.error,
                attempts=(row.attempt, row.max_attempts),
            )
            for row in rows
        ]

    def forget_idempotency_keys(self, limit: int) -> int:
        """Delete idempotency keys that bind nobody any more; return how many."""
        parameters = {"kept_seconds": IDEMPOTENCY_SECONDS, "limit": limit}
        return execute(self._engine, _FORGET_KEYS, parameters)

    def _recover(
        self,
        find: str,
        parameters: dict[str, Any],
        judge: Callable[[LostJob], tuple[Verdict, int]],
    ) -> Recovered | None:
        transactional = self._engine.execution_options(isolation_level="READ COMMITTED")
        with reporting_unavailability(), transactional.begin() as connection:
            row = connection.exec_driver_sql(find, parameters).first()
            if row is None:
                return None
            lost = _lost_of(row)
            verdict, progress = judge(lost)
            settle = _revive if verdict.revives else _end
            return Recovered(lost, verdict, settle(connection, lost, verdict, progress))


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


def _end(connection: Connection, lost: LostJob, verdict: Verdict, progress: int) -> Ending:
    step = failed(progress, one_line(str(verdict.error)))
    row = connection.exec_driver_sql(_END_LOST, _settled(lost, verdict, step)).one()
    return Ending(
        lost.job_id,
        row.task_id,
        row.lease_token,
        step,
        row.finished_at,
        error_code=verdict.error.code,
    )


def _revive(connection: Connection, lost: LostJob, verdict: Verdict, _progress: int) -> None:
    step = waiting(lost.attempt + 1, lost.max_attempts)
    connection.exec_driver_sql(_REVIVE_LOST, _settled(lost, verdict, step))


def _settled(lost: LostJob, verdict: Verdict, step: Step) -> dict[str, Any]:
    return {
        "id": str(lost.job_id),
        "progress": step.progress,
        "message": step.message,
        "error": json.dumps(error_record(verdict.error, lost.attempt)),
    }
