"""What is asked of a new job, on which terms, and what comes of it. `JobStore` accepts it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from shared.errors import LimitReached
from shared.jobs.model import Job, Priority
from shared.jobs.release_store import ReleasedJob, ReleaseRules
from shared.jobs.workspace_limits import Quota, SubmissionLimits
from shared.status import QUEUED

IDEMPOTENCY_SECONDS = 24 * 3600

_NO_RELEASE = ReleaseRules("", "")
_NO_LIMITS = SubmissionLimits(0)


@dataclass(frozen=True, slots=True)
class NewJob:
    """An accepted request, about to become a row.

    Attributes:
        params: What the row says of the images, as JSON.
        provider: Whose model makes them; None: that of the worker.
        models: Which may make them, in the order in which they are tried; none: the default one
            of the worker.
        start_within_seconds: The job is cancelled unless it has started by then; None: never.
        webhook_url: What receives `webhook_events` of this job alone.
        retry_of: The job that this one retries.
        traceparent: What names the submission in traces.
        request_id: Of the HTTP request that submits the job.
        quoted_microdollars: What its images cost if all goes well; None: not known.
    """

    workspace_id: str
    user_id: str | None
    product_id: str | None
    params: Mapping[str, Any]
    max_attempts: int
    provider: str | None = None
    models: Sequence[str] = ()
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
    quoted_microdollars: int | None = None


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
        keeps_owners: Whether the job makes no workspace, user or product.
        user_open_jobs: How many jobs its user may have waiting or running; None: any number.
    """

    limits: SubmissionLimits | None = None
    key: str | None = None
    request_sha256: str = ""
    release: ReleaseRules | None = None
    kept_seconds: float = IDEMPOTENCY_SECONDS
    is_first: bool = False
    outlives_job: bool = True
    keeps_owners: bool = False
    user_open_jobs: int | None = None


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


@dataclass(frozen=True, slots=True)
class Standing:
    """How a workspace stands to its limits.

    Attributes:
        quotas: What is left of each.
        refusal: What a request would be refused with now; None if it would be accepted.
    """

    quotas: tuple[Quota, ...]
    refusal: LimitReached | None


def parameters_of(new: NewJob, terms: Terms) -> dict[str, Any]:
    """Return the parameters of the statement that accepts a job."""
    return {
        **_columns_of(new),
        "key": terms.key,
        "request_sha256": terms.request_sha256,
        "kept_seconds": terms.kept_seconds,
        "is_first": terms.is_first,
        "outlives_job": terms.outlives_job,
        "envelope_id": str(uuid4()),
        "is_quote": False,
        "is_limited": terms.limits is not None,
        **(terms.limits or _NO_LIMITS).as_parameters(),
        **(terms.release or _NO_RELEASE).as_parameters(),
    }


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
        "job_models": list(new.models),
        "priority": new.priority.value,
        "start_within_seconds": new.start_within_seconds,
        "message": QUEUED.message,
        "retry_of": new.retry_of and str(new.retry_of),
        "traceparent": new.traceparent,
        "request_id": new.request_id,
        "quoted_microdollars": new.quoted_microdollars,
        "webhook_url": new.webhook_url,
        "webhook_events": list(new.webhook_events) if new.webhook_url else None,
    }


def explain_missing_owner(new: NewJob, error: Exception) -> str:
    """Return what a job names that does not exist in its workspace."""
    constraint = (
        getattr(getattr(getattr(error, "orig", error), "diag", None), "constraint_name", "") or ""
    )
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
