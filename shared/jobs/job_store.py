"""The rows of jobs as their owners see them: accepted, read, cancelled, announced, deleted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, exc

from shared.database.statements import Statements
from shared.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    JobCancelled,
    TooManyOpenJobs,
    UnknownJob,
    error_record,
)
from shared.jobs.model import Job
from shared.jobs.release_store import ReleasedJob, ReleaseRules
from shared.status import QUEUED, JobStatus

IDEMPOTENCY_SECONDS = 24 * 3600

_NO_RELEASE = ReleaseRules("", "")

MARGIN = 100
"""Requests that may be under way at once: this close to the limit they are counted one by one."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """An accepted request, about to become a row.

    Attributes:
        params: What the row says of the images, as JSON.
    """

    workspace_id: str
    user_id: str | None
    product_id: str | None
    params: Mapping[str, Any]
    max_attempts: int
    source_asset_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions under which a request is accepted.

    Attributes:
        open_limit: Jobs that its workspace may have waiting or running; None for any number.
        release: Releases the job at once where there is room; None lets it wait in its row.
        key: The idempotency key of the request; None if the client does not repeat it.
        request_sha256: Of everything that the request asks for.
    """

    open_limit: int | None = None
    key: str | None = None
    request_sha256: str = ""
    release: ReleaseRules | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job, and whether it is the request's own.

    Attributes:
        is_new: False for a request that repeats an earlier one: its job is left alone.
        envelope: To be sent now; None if the job waits in its row.
    """

    job: Job
    is_new: bool
    envelope: ReleasedJob | None = None


class JobStore:
    """Reads and writes jobs for those who own them.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    def insert(self, new: NewJob) -> Job:
        """Accept a job without conditions; see `accept`."""
        return self.accept(new, Terms()).job

    def accept(self, new: NewJob, terms: Terms) -> Accepted:
        """Accept a job, or find the one that the same request has made before.

        The job is PENDING and has a task id of its own.

        Raises:
            InvalidRequest: The workspace, user, product or asset does not exist, or belongs to
                another workspace.
            IdempotencyKeyReused: The key came with another request within 24 hours.
            TooManyOpenJobs: The workspace has as many as it may; nothing was accepted.
        """
        parameters = _columns_of(new) | {
            "key": terms.key,
            "request_sha256": terms.request_sha256,
            "kept_seconds": IDEMPOTENCY_SECONDS,
            "envelope_id": str(uuid4()),
            **(terms.release or _NO_RELEASE).as_parameters(),
        }
        try:
            return self._accept(parameters, terms)
        except exc.IntegrityError as error:
            raise InvalidRequest(_explain_missing_owner(new, error)) from error

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

    def find_outdated(self, days: float, limit: int) -> list[UUID]:
        """Return jobs that ended longer ago, the oldest first."""
        parameters = {"seconds": days * 86_400, "limit": limit}
        return [UUID(str(row.id)) for row in self._run("find_outdated", parameters)]

    def delete(self, job_id: UUID) -> bool:
        """Delete an ended job with all its rows; False if there is none."""
        return bool(self._run("delete_job", {"id": str(job_id)}))

    def mark_announced(self, job_id: UUID) -> None:
        """Note that the last event and the result record of an ended job are published."""
        self._run("mark_announced", {"id": str(job_id)})

    def _accept(self, parameters: dict[str, Any], terms: Terms) -> Accepted:
        limit = terms.open_limit
        if limit is None or limit > MARGIN:
            rows = self._run.together(
                ("lock_release", "accept"), {**parameters, "open_limit": limit and limit - MARGIN}
            )
            if rows:
                return _accepted(rows[0])
        repeated = self._find_repeated(parameters, terms)
        if repeated is None:
            rows = self._accept_near_limit({**parameters, "open_limit": limit})
            if rows:
                return _accepted(rows[0])
            # It lost the race against the same request, or there is no room.
            repeated = self._find_repeated(parameters, terms)
        if repeated is None:
            raise TooManyOpenJobs(limit or 0)
        return repeated

    def _find_repeated(self, parameters: Mapping[str, Any], terms: Terms) -> Accepted | None:
        if terms.key is None:
            return None
        rows = self._run("find_by_key", parameters)
        if not rows:
            return None
        if rows[0].request_sha256 != terms.request_sha256:
            raise IdempotencyKeyReused(rows[0].id)
        return Accepted(job_of(rows[0]), is_new=False)

    def _accept_near_limit(self, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Count and insert while no other request of the workspace does."""
        with self._run.transaction() as run:
            run("lock_workspace", parameters)
            run("lock_release", parameters)
            return run("accept", parameters)


def _accepted(row: Any) -> Accepted:
    job = job_of(row)
    is_out = row.dispatched_at is not None
    return Accepted(job, True, ReleasedJob(job.id, row.envelope_id) if is_out else None)


def job_of(row: Any) -> Job:
    """Read a job out of a row with all columns of `generation_jobs`; others are passed over."""
    columns = row._mapping
    values = {name: columns[name] for name in Job.__dataclass_fields__}
    source = values["source_asset_id"]
    return Job(
        **values
        | {
            "id": UUID(str(values["id"])),
            "source_asset_id": source and UUID(str(source)),
            "status": JobStatus[values["status"]],
        }
    )


def _keys(job_id: UUID, workspace_id: str | None) -> dict[str, str | None]:
    return {"id": str(job_id), "workspace_id": workspace_id}


def _columns_of(new: NewJob) -> dict[str, Any]:
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


def _explain_missing_owner(new: NewJob, error: exc.IntegrityError) -> str:
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
