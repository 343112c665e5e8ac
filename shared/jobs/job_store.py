"""The rows of jobs as their owners see them: accepted, read, cancelled, announced, deleted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Engine, exc

from shared.database.statements import Statements
from shared.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    JobCancelled,
    JobDeleted,
    LimitReached,
    TooManyOpenJobs,
    TooManySubmissions,
    UnknownJob,
    error_record,
)
from shared.jobs.model import Job, Priority
from shared.jobs.release_store import ReleasedJob, ReleaseRules
from shared.jobs.workspace_limits import Quota, SubmissionLimits, quotas_of, seconds_to_reset
from shared.status import QUEUED, JobStatus

IDEMPOTENCY_SECONDS = 24 * 3600

_NO_RELEASE = ReleaseRules("", "")

MARGIN = 100
"""Requests that may be under way at once: this close to the limit they are counted one by one."""

RETRY_AFTER_SECONDS = 5
"""Within which some job of a workspace may end."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """An accepted request, about to become a row.

    Attributes:
        params: What the row says of the images, as JSON.
        provider: Whose model makes them; None: that of the worker.
        model: Which makes them; None: the default one of the worker.
        start_within_seconds: The job is cancelled unless it has started by then; None: never.
        webhook_url: What receives `webhook_events` of this job alone.
        retry_of: The job that this one retries.
        traceparent: What names the submission in traces.
        request_id: Of the HTTP request that submits the job.
    """

    workspace_id: str
    user_id: str | None
    product_id: str | None
    params: Mapping[str, Any]
    max_attempts: int
    provider: str | None = None
    model: str | None = None
    source_asset_id: UUID | None = None
    reference_asset_ids: Sequence[UUID] = ()
    mask_asset_id: UUID | None = None
    priority: Priority = Priority.NORMAL
    start_within_seconds: int | None = None
    webhook_url: str | None = None
    webhook_events: Sequence[str] = ()
    retry_of: UUID | None = None
    traceparent: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions under which a request is accepted.

    Attributes:
        limits: Of its workspace, unless it has limits of its own; None: no limits at all.
        release: Releases the job at once where there is room; None lets it wait in its row.
        key: The idempotency key of the request; None if the client does not repeat it.
        request_sha256: Of everything that the request asks for.
        kept_seconds: How old a job of the same key may be; an older one is replaced.
        is_first: Whether the request is none that is repeated: it then finds only what a retry
            of it has made, which may come before it.
        outlives_job: Whether the key makes no other job after its own was deleted.
    """

    limits: SubmissionLimits | None = None
    key: str | None = None
    request_sha256: str = ""
    release: ReleaseRules | None = None
    kept_seconds: float = IDEMPOTENCY_SECONDS
    is_first: bool = False
    outlives_job: bool = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job, and whether it is the request's own.

    Attributes:
        is_new: False for a request that repeats an earlier one: its job is left alone.
        envelope: To be sent now; None if the job waits in its row.
        quotas: What the workspace may still submit.
    """

    job: Job
    is_new: bool
    envelope: ReleasedJob | None = None
    quotas: tuple[Quota, ...] = ()


class OldImage(NamedTuple):
    """A job that has ended, and when its oldest image was made."""

    job_id: UUID
    created_at: datetime


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
                another workspace, or the workspace may not ask for the model.
            IdempotencyKeyReused: The key came with another request within 24 hours.
            JobDeleted: It came with this request, and the job was deleted since.
            TooManyOpenJobs, TooManySubmissions: A limit of the workspace is reached; nothing was
                accepted.
        """
        limits = terms.limits
        parameters = _columns_of(new) | {
            "key": terms.key,
            "request_sha256": terms.request_sha256,
            "kept_seconds": terms.kept_seconds,
            "is_first": terms.is_first,
            "outlives_job": terms.outlives_job,
            "envelope_id": str(uuid4()),
            "is_limited": limits is not None,
            "open_jobs": limits and limits.open_jobs,
            "submissions_per_minute": limits and limits.submissions_per_minute,
            **(terms.release or _NO_RELEASE).as_parameters(),
        }
        try:
            return self._accept(parameters, terms)
        except exc.IntegrityError as error:
            raise InvalidRequest(_explain_missing_owner(new, error)) from error

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
        if limits is None or limits.open_jobs > MARGIN:
            names = ("lock_release", "accept")
            [row] = self._run.together(names, {**parameters, "margin": MARGIN})
            if row.id is not None:
                return _accepted(row)
        repeated = self.find_repeated(parameters["workspace_id"], terms)
        if repeated is None:
            row = self._accept_near_limit({**parameters, "margin": 0})
            if row.id is not None:
                return _accepted(row)
            # It lost the race against the same request, or a limit is reached.
            repeated = self.find_repeated(parameters["workspace_id"], terms)
            if repeated is None:
                raise _refusal(row, parameters)
        return repeated

    def _accept_near_limit(self, parameters: Mapping[str, Any]) -> Any:
        """Count and insert while no other request of the workspace does."""
        with self._run.transaction() as run:
            run("lock_workspace", parameters)
            run("lock_release", parameters)
            [row] = run("accept", parameters)
            return row


def _accepted(row: Any) -> Accepted:
    job = job_of(row)
    is_out = row.dispatched_at is not None
    envelope = ReleasedJob(job.id, row.envelope_id, job.traceparent) if is_out else None
    return Accepted(job, True, envelope, quotas_of(row))


def _refusal(row: Any, parameters: Mapping[str, Any]) -> LimitReached | InvalidRequest:
    if not row.is_allowed:
        workspace_id, models = parameters["workspace_id"], ", ".join(row.models)
        return InvalidRequest(f"model: workspace {workspace_id!r} may ask for {models or 'none'}")
    if row.open_limit is not None and row.open_jobs >= row.open_limit:
        return TooManyOpenJobs(row.open_limit, RETRY_AFTER_SECONDS)
    return TooManySubmissions(row.submission_limit or 0, seconds_to_reset(row))


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


def _columns_of(new: NewJob) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "task_id": str(uuid4()),
        "workspace_id": new.workspace_id,
        "user_id": new.user_id,
        "product_id": new.product_id,
        "source_asset_id": new.source_asset_id and str(new.source_asset_id),
        "reference_asset_ids": [*map(str, new.reference_asset_ids)] or None,
        "mask_asset_id": new.mask_asset_id and str(new.mask_asset_id),
        "params": json.dumps(new.params),
        "max_attempts": new.max_attempts,
        "job_provider": new.provider,
        "job_model": new.model,
        "priority": new.priority.value,
        "start_within_seconds": new.start_within_seconds,
        "message": QUEUED.message,
        "retry_of": new.retry_of and str(new.retry_of),
        "traceparent": new.traceparent,
        "request_id": new.request_id,
        "webhook_url": new.webhook_url,
        "webhook_events": list(new.webhook_events) if new.webhook_url else None,
    }


def _explain_missing_owner(new: NewJob, error: exc.IntegrityError) -> str:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", "") or ""
    if "job_assets" in constraint:
        line = "not every picture or mask is an asset of workspace"
        return f"reference_asset_ids: {line} {new.workspace_id!r}"
    owned = (
        ("source_asset", "asset", new.source_asset_id and str(new.source_asset_id)),
        ("user", "user", new.user_id),
        ("product", "product", new.product_id),
    )
    for name, kind, value in owned:
        if name in constraint:
            return f"{name}_id: no {kind} {value!r} in workspace {new.workspace_id!r}"
    return f"workspace_id: no workspace {new.workspace_id!r}"
