"""What a job is at the moment it was read, and what becomes of one that lost its worker. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from typing import Any
from uuid import UUID

from shared.errors import AttemptError, JobCancelled, TimeLimitReached, WorkerLost
from shared.status import Ending, JobStatus, Step


class Priority(IntEnum):
    """Which waiting jobs start first, as the column `priority` has it."""

    LOW = -1
    NORMAL = 0
    HIGH = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One row of `generation_jobs`, as it was when read."""

    id: UUID
    task_id: str
    workspace_id: str
    user_id: str | None
    product_id: str | None
    source_asset_id: UUID | None
    status: JobStatus
    progress: int
    message: str
    params: Mapping[str, Any]
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    attempt: int
    max_attempts: int
    priority: int
    start_by: datetime | None
    next_attempt_at: datetime | None
    lease_token: int
    cancel_requested_at: datetime | None
    announced_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    provider: str | None = None
    model: str | None = None
    retry_of: UUID | None = None
    webhook_url: str | None = None
    webhook_events: Sequence[str] | None = None
    traceparent: str | None = None
    reference_asset_ids: Sequence[UUID] = ()
    mask_asset_id: UUID | None = None
    quoted_microdollars: int | None = None

    @property
    def step(self) -> Step:
        """Where the row says the job stands."""
        return Step(self.status, self.progress, self.message)

    @property
    def as_lost(self) -> "LostJob":
        """A job that waits for another attempt, as one that will have none."""
        return LostJob(
            id=self.id,
            task_id=self.task_id,
            attempt=self.attempt,
            max_attempts=self.max_attempts,
            token=self.lease_token,
            progress=self.progress,
            is_cancelled=True,
            reached_time_limit=False,
            params=self.params,
        )

    @property
    def ending(self) -> Ending:
        """How the job ended; ValueError for one that has not."""
        if self.finished_at is None:
            raise ValueError(f"job {self.id} has not ended")
        return ending_of(
            self.id,
            self.task_id,
            self.lease_token,
            self.step,
            self.finished_at,
            result=self.result,
            error=self.error,
            attempts=(self.attempt, self.max_attempts),
        )


REQUEST_ID_MAX_CHARS = 255
"""What the column holds; a provider may send more."""


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What is known of the bill of one attempt, as its line of the ledger says it.

    Attributes:
        charge_state: `none`, `charged` or `unknown`.
        request_id: The provider's own name for the call.
        units: What was billed, by name.
        price_microdollars: None where it is not known.
    """

    charge_state: str
    request_id: str | None = None
    units: Mapping[str, int] | None = None
    price_microdollars: int | None = None


@dataclass(frozen=True, slots=True)
class EarlierCalls:
    """What the attempts before one may have cost.

    Attributes:
        unknown: Calls that may have been billed.
        spent_microdollars: What the others have cost, as far as it is known.
        last_known: The last attempt whose charge is known; 0 if there is none.
        purchases: Images that were bought, and may still come.
        is_billed: Whether any was, or may have been, charged.
    """

    unknown: int = 0
    spent_microdollars: int = 0
    last_known: int = 0
    purchases: tuple["BoughtImage", ...] = ()
    is_billed: bool = False


@dataclass(frozen=True, slots=True)
class BoughtImage:
    """A purchase as the ledger keeps it, once the provider has named it.

    Attributes:
        address: Where the provider is asked for it.
    """

    id: UUID
    position: int
    request_id: str | None
    address: str
    price_microdollars: int | None


@dataclass(frozen=True, slots=True)
class OpenBill:
    """A purchase whose bill is not known, of a job that has ended."""

    job_id: UUID
    provider: str
    model: str
    bought: BoughtImage


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one attempt of a job.

    Attributes:
        attempt: Its number, from 1.
        token: The fence: every write of this attempt names it, and fails once it is outdated.
        picture_ids: The assets that the images are based on, in order.
        mask_asset_id: The mask of the first one.
        time_limit_seconds: From the claim on; then the process is killed.
        model: Which makes the images; None: the default one.
        traceparent: What names the job's submission in traces; None where those were off.
        request_id: Of the HTTP request that submitted the job.
        budget_left_microdollars: What its workspace might still spend at the claim; None: any sum.
        provider: Whose model it is; None: the default one.
    """

    job_id: UUID
    task_id: str
    params: Mapping[str, Any]
    attempt: int
    max_attempts: int
    token: int
    picture_ids: tuple[UUID, ...] = ()
    mask_asset_id: UUID | None = None
    time_limit_seconds: float = math.inf
    model: str | None = None
    traceparent: str | None = None
    request_id: str | None = None
    budget_left_microdollars: int | None = None
    provider: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether no other attempt may follow."""
        return self.attempt >= self.max_attempts


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """Why an envelope gives no right to run its job now.

    Attributes:
        reason: `ended`, `running`, `not_due`, `late` (it should have started before), or `paused`
            (its workspace or the provider is).
        due_in_seconds: With `not_due`: how long until the next attempt may start.
    """

    reason: str
    due_in_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LostJob:
    """A job whose attempt can no longer finish by itself.

    Attributes:
        reached_time_limit: Its lease ran up to the hard time limit, or its process was killed
            there.
        owner: The process that held it, where it is known to be dead.
    """

    id: UUID
    task_id: str
    attempt: int
    max_attempts: int
    token: int
    progress: int
    is_cancelled: bool
    reached_time_limit: bool
    owner: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def judge(self, time_limit_seconds: float) -> AttemptError:
        """Return why the attempt was lost: the one rule of the sweep and Celery's parent."""
        if self.is_cancelled:
            return JobCancelled()
        if self.reached_time_limit:
            return TimeLimitReached(time_limit_seconds)
        return WorkerLost(self.attempt)

    def revives_after(self, error: AttemptError) -> bool:
        """Return whether the job waits for its next attempt after this; else it has failed."""
        return error.retryable and self.attempt < self.max_attempts


def ending_of(
    job_id: UUID,
    task_id: str,
    token: int,
    step: Step,
    finished_at: datetime,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
    attempts: tuple[int, int] | None = None,
) -> Ending:
    """Return the ending of a job, from the columns of its row.

    `attempts` are those begun and the most there may be; None for the ending of an attempt.
    """
    urls = tuple(image["url"] for image in (result or {}).get("images", ()))
    ending = Ending(job_id, task_id, token, step, finished_at, urls, (error or {}).get("code", ""))
    # A claim sets the progress to 5: a job that failed at 0 was waiting.
    if attempts is None or step.status is not JobStatus.FAILED or step.progress > 0:
        return ending
    return replace(ending, waited_for=attempts[0] + 1, max_attempts=attempts[1])
