"""The rows of jobs as their owners see them: accepted, read, cancelled, announced."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, exc

from shared.database.statements import execute, fetch_all, fetch_one
from shared.errors import InvalidRequest, JobCancelled, UnknownJob, error_record
from shared.jobs.model import Job
from shared.status import QUEUED, JobStatus

JOB_COLUMNS = """
    id, task_id, workspace_id, user_id, product_id, source_asset_id, status, progress, message,
    params, result, error, attempt, max_attempts, next_attempt_at, lease_token, cancel_requested_at,
    announced_at, created_at, started_at, finished_at
"""

# `dispatched_at` is set before the envelope is sent: most sends succeed, and the sweep repeats
# those that did not after the grace period.
INSERTED_COLUMNS = (
    """id, task_id, workspace_id, user_id, product_id, source_asset_id, params, max_attempts,
        message, dispatched_at, dispatches""",
    """%(id)s, %(task_id)s, %(workspace_id)s, %(user_id)s, %(product_id)s,
        %(source_asset_id)s::uuid, %(params)s::jsonb, %(max_attempts)s, %(message)s, now(), 1""",
)
"""Names and values of a new row."""

_INSERT = f"""
    INSERT INTO generation_jobs ({INSERTED_COLUMNS[0]}) VALUES ({INSERTED_COLUMNS[1]})
    RETURNING {JOB_COLUMNS}
"""

_SELECT = f"""
    SELECT {JOB_COLUMNS} FROM generation_jobs
    WHERE id = %(id)s AND (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
"""

# One that ended a moment ago and was not announced is about to be: its own event comes.
_FIND_ENDED = f"""
    SELECT {JOB_COLUMNS} FROM generation_jobs
    WHERE id = ANY(%(ids)s::uuid[]) AND finished_at IS NOT NULL
        AND (announced_at IS NOT NULL OR finished_at < now() - interval '2 seconds')
"""

_REQUEST_CANCEL = f"""
    UPDATE generation_jobs SET
        cancel_requested_at = coalesce(cancel_requested_at, now()),
        status = CASE WHEN status = 'PENDING' THEN 'FAILED' ELSE status END,
        message = CASE WHEN status = 'PENDING' THEN %(message)s ELSE message END,
        error = CASE WHEN status = 'PENDING'
            THEN %(error)s::jsonb || jsonb_build_object('attempt', attempt) ELSE error END,
        finished_at = CASE WHEN status = 'PENDING' THEN now() END,
        next_attempt_at = NULL,
        lease_token = lease_token + CASE WHEN status = 'PENDING' THEN 1 ELSE 0 END
    WHERE id = %(id)s AND status IN ('PENDING', 'PROCESSING')
        AND (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
    RETURNING {JOB_COLUMNS}
"""

_MARK_ANNOUNCED = """
    UPDATE generation_jobs SET announced_at = now() WHERE id = %(id)s AND announced_at IS NULL
"""

# What was not sent does not count: however long the queue was away, the next envelope is missed
# after one grace period if it is lost.
_MARK_UNDISPATCHED = """
    UPDATE generation_jobs SET dispatched_at = NULL, dispatches = greatest(dispatches - 1, 0)
    WHERE id = ANY(%(ids)s::uuid[]) AND status = 'PENDING'
"""


# Attempts, images and idempotency keys go with it.
_DELETE = "DELETE FROM generation_jobs WHERE id = %(id)s AND announced_at IS NOT NULL"

_FIND_OUTDATED = """
    SELECT id FROM generation_jobs
    WHERE finished_at < now() - make_interval(secs => %(seconds)s) AND announced_at IS NOT NULL
    ORDER BY finished_at LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class NewJob:
    """An accepted request, about to become a row."""

    workspace_id: str
    user_id: str | None
    product_id: str | None
    params: Mapping[str, Any]
    max_attempts: int
    source_asset_id: UUID | None = None


class JobStore:
    """Reads and writes jobs for those who own them; each method is one transaction.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def insert(self, new: NewJob) -> Job:
        """Accept a job: PENDING, with a task id of its own, counted as dispatched.

        Raises:
            InvalidRequest: The workspace, user, product or asset does not exist, or belongs to
                another workspace.
        """
        try:
            [row] = fetch_all(self._engine, _INSERT, insert_parameters(new))
        except exc.IntegrityError as error:
            raise InvalidRequest(explain_missing_owner(new, error)) from error
        return job_of(row)

    def find(self, job_id: UUID, workspace_id: str | None = None) -> Job | None:
        """Return the job, or None; with a workspace, only if it belongs to it."""
        row = fetch_one(self._engine, _SELECT, _keys(job_id, workspace_id))
        return None if row is None else job_of(row)

    def get(self, job_id: UUID, workspace_id: str | None = None) -> Job:
        """Return the job.

        Raises:
            UnknownJob: There is none (in that workspace).
        """
        job = self.find(job_id, workspace_id)
        if job is None:
            raise UnknownJob(job_id)
        return job

    def find_ended(self, job_ids: Sequence[UUID]) -> list[Job]:
        """Return those of the jobs whose end is told, or should have been by now."""
        parameters = {"ids": [str(job_id) for job_id in job_ids]}
        return [job_of(row) for row in fetch_all(self._engine, _FIND_ENDED, parameters)]

    def request_cancel(self, job_id: UUID, workspace_id: str | None = None) -> Job:
        """End a waiting job at once; leave a note for the worker of a running one.

        A job that has ended stays as it is. Returns the job as it is afterwards.

        Raises:
            UnknownJob: There is none (in that workspace).
        """
        cancelled = JobCancelled()
        error = dict(error_record(cancelled, attempt=0))
        parameters = {
            **_keys(job_id, workspace_id),
            "message": str(cancelled),
            "error": json.dumps(error),
        }
        row = fetch_one(self._engine, _REQUEST_CANCEL, parameters)
        return self.get(job_id, workspace_id) if row is None else job_of(row)

    def find_outdated(self, days: float, limit: int) -> list[UUID]:
        """Return jobs that ended longer ago, the oldest first."""
        parameters = {"seconds": days * 86_400, "limit": limit}
        return [UUID(str(row.id)) for row in fetch_all(self._engine, _FIND_OUTDATED, parameters)]

    def delete(self, job_id: UUID) -> bool:
        """Delete an ended job with all its rows; False if there is none."""
        return execute(self._engine, _DELETE, {"id": str(job_id)}) > 0

    def mark_announced(self, job_id: UUID) -> None:
        """Note that the last event and the result record of an ended job are out."""
        execute(self._engine, _MARK_ANNOUNCED, {"id": str(job_id)})

    def mark_undispatched(self, *job_ids: UUID) -> None:
        """Note that envelopes of waiting jobs were not sent, so that the next sweep sends them."""
        if job_ids:
            execute(self._engine, _MARK_UNDISPATCHED, {"ids": [*map(str, job_ids)]})


def _keys(job_id: UUID, workspace_id: str | None) -> dict[str, str | None]:
    return {"id": str(job_id), "workspace_id": workspace_id}


def insert_parameters(new: NewJob) -> dict[str, Any]:
    """Return the parameters of `INSERTED_COLUMNS`, with ids of the job's own."""
    return {
        "id": str(uuid4()),
        "task_id": str(uuid4()),
        "workspace_id": new.workspace_id,
        "user_id": new.user_id,
        "product_id": new.product_id,
        "source_asset_id": new.source_asset_id and str(new.source_asset_id),
        "params": json.dumps(new.params),
        "max_attempts": new.max_attempts,
        "message": QUEUED.message,
    }


def job_of(row: Any) -> Job:
    """Read a job out of a row of `JOB_COLUMNS`, or out of its values by name."""
    values = row if isinstance(row, dict) else row._asdict()
    values["id"] = UUID(str(values["id"]))
    source = values["source_asset_id"]
    values["source_asset_id"] = source and UUID(str(source))
    values["status"] = JobStatus[values["status"]]
    return Job(**values)


def explain_missing_owner(new: NewJob, error: exc.IntegrityError) -> str:
    """Say which of the request's owners does not exist."""
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", "") or ""
    owned = (
        ("source_asset", "asset", new.source_asset_id and str(new.source_asset_id)),
        ("user", "user", new.user_id),
        ("product", "product", new.product_id),
    )
    for name, kind, value in owned:
        if name in constraint:
            return f"{name}_id: no {kind} {value!r} in workspace {new.workspace_id!r}"
    return f"workspace_id: no workspace {new.workspace_id!r}"
