"""The rows of jobs as their owners see them: accepted, read, cancelled, announced, deleted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg2
from sqlalchemy import Engine, exc

from shared.database.foreign import ForeignConnection, ForeignTransaction
from shared.database.statements import Statements
from shared.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    JobCancelled,
    JobDeleted,
    TooManyOpenJobs,
    TooManySubmissions,
    UnknownJob,
    error_record,
)
from shared.jobs.acceptance import (
    IDEMPOTENCY_SECONDS,
    Accepted,
    NewJob,
    Standing,
    Terms,
    explain_missing_owner,
    parameters_of,
)
from shared.jobs.model import Job
from shared.jobs.release_store import ReleasedJob
from shared.jobs.workspace_limits import (
    RETRY_AFTER_SECONDS,
    UNLIMITED,
    SubmissionLimits,
    find_refusal,
    quotas_of,
)
from shared.status import JobStatus

MARGIN = 100
"""Requests that may be under way at once: this close to the limit they are counted one by one."""


class OldImage(NamedTuple):
    """A job that has ended, and when its oldest image was made."""

    job_id: UUID
    created_at: datetime


class JobStore:
    """Reads and writes jobs for those who own them.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.

    Args:
        schema: DATABASE_SCHEMA, for connections of others.
        makes_owners: Whether a job makes the workspace, user and product that it names first.
    """

    def __init__(
        self, engine: Engine, schema: str | None = None, *, makes_owners: bool = False
    ) -> None:
        self._run = Statements(engine, __file__)
        self._makes_owners = makes_owners
        self._schema = schema

    def insert(self, new: NewJob) -> Job:
        """Accept a job without conditions; see `accept`."""
        return self.accept(new, Terms()).job

    def accept(self, new: NewJob, terms: Terms) -> Accepted:
        """Accept a job, or find the one that the same request has made before.

        The job is PENDING and has a task id of its own.

        Raises:
            InvalidRequest: The workspace, user, product or asset does not exist, or belongs to
                another workspace, or the workspace may not ask for the model.
            IdempotencyKeyReused: The key came with another request within 24 hours.
            JobDeleted: It came with this request, and the job was deleted since.
            TooManyOpenJobs, TooManySubmissions, BudgetExceeded: A limit of the workspace is
                reached; nothing was accepted.
        """
        parameters = parameters_of(new, terms)
        try:
            return self._accept(parameters, terms)
        except exc.IntegrityError as error:
            if not self._makes_owners or terms.keeps_owners:
                raise InvalidRequest(explain_missing_owner(new, error)) from error
        # Only now: a job whose owners exist costs no statement more.
        self._run("make_owners", parameters)
        return self.accept(new, replace(terms, keeps_owners=True))

    def insert_within(self, connection: ForeignConnection, new: NewJob) -> Job:
        """Insert a job without conditions in the caller's transaction; its commit accepts the job.

        The job waits in its row. Workers of Celery are notified by the commit.

        Raises:
            InvalidRequest: See `accept`. The transaction is as it was before.
            ConfigurationError: The connection has no transaction.
        """
        parameters = parameters_of(new, Terms()) | {"margin": 0}
        transaction = ForeignTransaction(connection, self._schema)
        try:
            with self._run.within(transaction) as run:
                if self._makes_owners:
                    run("make_owners", parameters)
                [row] = run("accept", parameters)
                run("notify_of_jobs", {})
        except (exc.IntegrityError, psycopg2.IntegrityError) as error:
            raise InvalidRequest(explain_missing_owner(new, error)) from error
        return job_of(row)

    def make_user(self, workspace_id: str, user_id: str) -> None:
        """Make a user who does not exist yet, where jobs may make users."""
        if self._makes_owners:
            owners = {"workspace_id": workspace_id, "user_id": user_id, "product_id": None}
            self._run("make_owners", owners)

    def quote(self, new: NewJob, limits: SubmissionLimits) -> Standing:
        """Return what is left to the workspace of a job; nothing is written.

        Raises:
            InvalidRequest: The workspace may not ask for the model, or has a budget while it is
                not known what the job costs.
        """
        parameters = parameters_of(new, Terms(limits)) | {"is_quote": True, "margin": 0}
        [row] = self._run("accept", parameters)
        return Standing(quotas_of(row), find_refusal(row, parameters))

    def find_repeated(self, workspace_id: str, terms: Terms) -> Accepted | None:
        """Return the job that the same request has made before.

        Raises:
            IdempotencyKeyReused: The key came with another request.
            JobDeleted: The job was deleted since.
        """
        if terms.key is None:
            return None
        parameters = {
            "workspace_id": workspace_id,
            "key": terms.key,
            "kept_seconds": terms.kept_seconds,
            "is_first": terms.is_first,
            "outlives_job": terms.outlives_job,
        }
        rows = self._run("find_by_key", parameters)
        if not rows:
            return None
        if rows[0].request_sha256 != terms.request_sha256:
            raise IdempotencyKeyReused(rows[0].kept_job_id)
        if rows[0].id is None:
            raise JobDeleted(rows[0].kept_job_id)
        return Accepted(job_of(rows[0]), is_new=False)

    def get(self, job_id: UUID, workspace_id: str | None = None) -> Job:
        """Return the job.

        Raises:
            UnknownJob: There is none (in that workspace).
        """
        rows = self._run("find_job", _keys(job_id, workspace_id))
        if not rows:
            raise UnknownJob(job_id)
        return job_of(rows[0])

    def find_ended(self, job_ids: Sequence[UUID]) -> list[Job]:
        """Return those of the jobs whose end is announced, or should be by now."""
        parameters = {"ids": [str(job_id) for job_id in job_ids]}
        return [job_of(row) for row in self._run("find_ended", parameters)]

    def count_ended(self) -> dict[str | None, int]:
        """Return how many jobs ended in the last full minute, by error code; None: completed."""
        return {row.code: row.jobs for row in self._run("count_ended", {})}

    def request_cancel(self, job_id: UUID, workspace_id: str | None = None) -> Job:
        """End a waiting job at once; leave a note for the worker of a running one.

        A job that has ended stays unchanged. Returns the job after the request.

        Raises:
            UnknownJob: There is none (in that workspace).
        """
        cancelled = JobCancelled()
        parameters = {
            **_keys(job_id, workspace_id),
            "message": str(cancelled),
            "error": json.dumps(error_record(cancelled, attempt=0)),
        }
        rows = self._run("request_cancel", parameters)
        return job_of(rows[0]) if rows else self.get(job_id, workspace_id)

    def find_of_task(self, name: str) -> list[UUID]:
        """Return the open jobs with this task id, or whose envelope has this id."""
        return [UUID(str(row.id)) for row in self._run("find_of_task", {"name": name})]

    def find_outdated(self, days: float, after: Job | None) -> Job | None:
        """Return the job that ended longest ago, or next after another one, if that is long ago.

        Args:
            days: How long it is kept after its end.
            after: The one that was found before it; None begins with the first.
        """
        parameters = {
            "seconds": days * 86_400,
            "after_time": after and after.finished_at,
            "after_id": after and str(after.id),
        }
        rows = self._run("find_outdated", parameters)
        return job_of(rows[0]) if rows else None

    def find_old_image(self, days: float, after: OldImage | None) -> OldImage | None:
        """Return the job with the oldest image, or next after another one, if that is old enough.

        Args:
            days: How long images are kept; those of jobs that have not ended are left out.
            after: What was found before it; None begins with the first.
        """
        parameters = {
            "seconds": days * 86_400,
            "after_time": after and after.created_at,
            "after_id": after and str(after.job_id),
        }
        rows = self._run("find_old_image", parameters)
        return OldImage(UUID(str(rows[0].job_id)), rows[0].created_at) if rows else None

    def forget_images(self, job_id: UUID) -> None:
        """Delete the rows of a job's images and previews."""
        self._run("forget_images", {"id": str(job_id)})

    def find_unknown(self, job_ids: Sequence[UUID]) -> list[UUID]:
        """Return those of the ids that no job has."""
        rows = self._run("find_unknown", {"ids": [str(job_id) for job_id in job_ids]})
        return [UUID(str(row.id)) for row in rows]

    def forget_idempotency_keys(self, limit: int) -> int:
        """Delete idempotency keys that have expired, and return how many."""
        parameters = {"kept_seconds": IDEMPOTENCY_SECONDS, "limit": limit}
        return len(self._run("forget_keys", parameters))

    def delete(self, job_id: UUID) -> bool:
        """Delete an ended job with all its rows; False if there is none."""
        return bool(self._run("delete_job", {"id": str(job_id)}))

    def mark_announced(self, job_id: UUID, progress: int = 0) -> None:
        """Note that the last event and the result record of an ended job are published.

        Args:
            job_id: Of the job.
            progress: What the last event says; the row may be behind what clients have seen.
        """
        self._run("mark_announced", {"id": str(job_id), "progress": progress})

    def _accept(self, parameters: dict[str, Any], terms: Terms) -> Accepted:
        limits = terms.limits
        is_far = limits is None or (limits.open_jobs > MARGIN and limits.budget == UNLIMITED)
        if is_far and terms.user_open_jobs is None:
            names = ("lock_release", "accept")
            [row] = self._run.together(names, {**parameters, "margin": MARGIN})
            if row.id is not None:
                return _accepted(row)
        repeated = self.find_repeated(parameters["workspace_id"], terms)
        if repeated is None:
            limit = {"user_open_jobs": terms.user_open_jobs, "margin": 0}
            row = self._accept_near_limit({**parameters, **limit})
            if row.id is not None:
                return _accepted(row)
            # It lost the race against the same request, or a limit is reached.
            repeated = self.find_repeated(parameters["workspace_id"], terms)
            if repeated is None:
                # Another request may have used up the window since this one read it.
                late = TooManySubmissions(row.submission_limit or 0, RETRY_AFTER_SECONDS)
                raise find_refusal(row, parameters) or late
        return repeated

    def _accept_near_limit(self, parameters: Mapping[str, Any]) -> Any:
        """Count and insert while no other request of the workspace does."""
        with self._run.transaction() as run:
            run("lock_workspace", parameters)
            limit = parameters["user_open_jobs"]
            if limit is not None and run("count_open_of_user", parameters)[0].jobs >= limit:
                raise TooManyOpenJobs(limit, RETRY_AFTER_SECONDS)
            run("lock_release", parameters)
            [row] = run("accept", parameters)
            return row


def _accepted(row: Any) -> Accepted:
    job = job_of(row)
    is_out = row.dispatched_at is not None
    envelope = ReleasedJob(job.id, row.envelope_id, job.traceparent) if is_out else None
    return Accepted(job, True, envelope, quotas_of(row))


def job_of(row: Any) -> Job:
    """Read a job out of a row with all columns of `generation_jobs`; others are passed over."""
    return job_of_columns(row._mapping)


def job_of_columns(columns: Mapping[str, Any]) -> Job:
    """Read a job out of the columns of its row."""
    # An event of webhooks that an earlier version wrote lacks the columns of this one.
    values: dict[str, Any] = {name: columns.get(name) for name in Job.__dataclass_fields__}
    source, retried = values["source_asset_id"], values["retry_of"]
    return Job(
        **values
        | {
            "id": UUID(str(values["id"])),
            "source_asset_id": source and UUID(str(source)),
            "retry_of": retried and UUID(str(retried)),
            "reference_asset_ids": values["reference_asset_ids"] or (),
            "status": JobStatus[values["status"]],
        }
    )


def _keys(job_id: UUID, workspace_id: str | None) -> dict[str, str | None]:
    return {"id": str(job_id), "workspace_id": workspace_id}
