"""What a job is at the moment it was read, and what becomes of one that lost its worker. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.errors import AttemptError, JobCancelled, TimeLimitReached, WorkerLost
from shared.status import Ending, JobStatus, Step


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
    next_attempt_at: datetime | None
    lease_token: int
    cancel_requested_at: datetime | None
    announced_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def step(self) -> Step:
        """Where the row says the job stands."""
        return Step(self.status, self.progress, self.message)

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
    """

    unknown: int = 0
    spent_microdollars: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one attempt of a job.

    Attributes:
        attempt: Its number, from 1.
        token: The fence: every write of this attempt names it, and fails once it is outdated.
        source_asset_id: The reference picture of the images.
    """

    job_id: UUID
    task_id: str
    params: Mapping[str, Any]
    attempt: int
    max_attempts: int
    token: int
    source_asset_id: UUID | None = None

    @property
    def is_last(self) -> bool:
        """Whether no other attempt may follow."""
        return self.attempt >= self.max_attempts


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """Why an envelope gives no right to run its job now.

    Attributes:
        reason: `ended`, `running`, or `not_due`.
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
    """

    job_id: UUID
    task_id: str
    attempt: int
    max_attempts: int
    token: int
    progress: int
    is_cancelled: bool
    reached_time_limit: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a lost job: it fails with `error`, or waits for its next attempt."""

    error: AttemptError
    revives: bool


def judge_lost(lost: LostJob, time_limit_seconds: float) -> Verdict:
    """Decide over a job that lost its worker: the one rule of the sweep and Celery's parent."""
    if lost.is_cancelled:
        return Verdict(JobCancelled(), revives=False)
    if lost.reached_time_limit:
        return Verdict(TimeLimitReached(time_limit_seconds), revives=False)
    return Verdict(WorkerLost(lost.attempt), revives=lost.attempt < lost.max_attempts)


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
