"""The rows of jobs as the sweep sees them: lost, ended without a word.

Used by processes that run no job. Rows that another process has locked are passed over.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.statements import Statements
from shared.errors import AttemptError, JobCancelled, error_record, public_line
from shared.jobs.job_store import job_of
from shared.jobs.model import Job, LostJob
from shared.status import COMPLETED, failed, waiting

ANNOUNCE_AFTER_SECONDS = 1.0
"""A job that ended less long ago is being announced by the process that ended it."""


class RecoveryStore:
    """Finds and settles what no worker looks after; each method is one statement.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    def find_lost(self, limit: int) -> list[LostJob]:
        """Return jobs whose lease ran out, the longest ago first."""
        rows = self._run("find_lost", {"id": None, "owner": None, "limit": limit})
        return [_lost_of(row, None) for row in rows]

    def find_of_dead_owner(self, job_id: UUID, owner: str) -> LostJob | None:
        """Return a job if a worker process that is known to be dead holds its lease."""
        rows = self._run("find_lost", {"id": str(job_id), "owner": owner, "limit": 1})
        return _lost_of(rows[0], owner) if rows else None

    def settle(self, lost: LostJob, error: AttemptError, progress: int) -> Job | None:
        """Revive or end a lost job; None if it has changed since it was found, or is locked.

        Args:
            lost: As it was found.
            error: Why it was lost; decides what becomes of it.
            progress: The highest that followers have seen; an end keeps it.
        """
        step = failed(progress, public_line(error))
        if lost.revives_after(error):
            step = waiting(lost.attempt + 1, lost.max_attempts)
        parameters = {
            "id": str(lost.id),
            "token": lost.token,
            "owner": lost.owner,
            "is_cancelled": lost.is_cancelled,
            "status": step.status.name,
            "progress": step.progress,
            "message": step.message,
            "error": json.dumps(error_record(error, lost.attempt)),
        }
        rows = self._run("settle_lost", parameters)
        return job_of(rows[0]) if rows else None

    def complete(
        self,
        lost: LostJob,
        images: Sequence[Mapping[str, Any]],
        result: Mapping[str, Any],
        error: Mapping[str, Any],
    ) -> Job | None:
        """Complete a lost or waiting job; None if it has changed since it was found, or is locked.

        Args:
            lost: As it was found.
            images: The columns of each row of `images`, except the job's id.
            result: What clients see of them.
            error: Why the attempt that is still open was lost.
        """
        parameters = {
            "id": str(lost.id),
            "token": lost.token,
            "owner": lost.owner,
            "progress": COMPLETED.progress,
            "message": COMPLETED.message,
            "images": json.dumps(images),
            "result": json.dumps(result),
            "error": json.dumps(error),
        }
        rows = self._run("complete_saved", parameters)
        return job_of(rows[0]) if rows else None

    def withdraw_envelope(self, job_id: UUID) -> None:
        """Take the envelope of a waiting job back into its row: it is known to be gone."""
        self._run("withdraw_job", {"id": str(job_id)})

    def end_late(self, limit: int) -> list[Job]:
        """Cancel waiting jobs that should have started by now, and return them."""
        error = JobCancelled("Cancelled: not started in time")
        parameters = {
            "message": str(error),
            "error": json.dumps(error_record(error, attempt=0)),
            "limit": limit,
        }
        return [job_of(row) for row in self._run("end_late", parameters)]

    def find_unannounced(self, limit: int) -> list[Job]:
        """Return ended jobs whose last event may not have been published, the oldest first."""
        parameters = {"settle": ANNOUNCE_AFTER_SECONDS, "limit": limit}
        return [job_of(row) for row in self._run("find_unannounced", parameters)]


def _lost_of(row: Any, owner: str | None) -> LostJob:
    return LostJob(
        id=UUID(str(row.id)),
        task_id=row.task_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        token=row.lease_token,
        progress=row.progress,
        is_cancelled=row.is_cancelled,
        reached_time_limit=row.at_limit,
        owner=owner,
        params=row.params,
    )
