"""All errors: a class for each `code`. `error_kinds` lists those that the row of a job may hold.

The codes that only HTTP answers with stand in `shared.api.problem_codes`.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.error_kinds import KINDS, Kind
from shared.redaction import redact

MESSAGE_MAX_CHARS = 500

_READ_MAX_CHARS = 8 * MESSAGE_MAX_CHARS
"""No more of a foreign text is looked at."""

# PostgreSQL keeps neither NUL nor lone surrogates; the others would control a terminal.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class DarkroomError(Exception):
    """Root of all errors of this project; `title`, `stage` and `retryable` are those of its kind.

    Attributes:
        code: Stable word for programs, kept in the row's `error`.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = ""
    stage: ClassVar[str | None] = None
    retryable: ClassVar[bool] = False
    fails_over: ClassVar[bool] = False

    def __init_subclass__(cls, *, code: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if code:
            kind = KINDS.get(code, Kind())
            cls.code, cls.title, cls.stage = code, kind.title, kind.stage
            cls.retryable, cls.fails_over = kind.retryable, kind.fails_over


class ConfigurationError(DarkroomError, code="configuration"):
    """A setting is missing or wrong; the message names the setting and the way out."""


class SchemaConflict(DarkroomError, code="schema_conflict"):
    """The schema in PostgreSQL is not ours to migrate, or is incomplete; the message says why."""


class SchemaMissing(DarkroomError, code="schema_missing"):
    """PostgreSQL answers, but has not the tables that this code reads."""


class InvalidRequest(DarkroomError, code="invalid_request"):
    """A request that no attempt could serve."""


class UnknownThing(DarkroomError, code="unknown_thing"):
    """A thing does not exist, or does not belong to the caller."""

    def __init__(self, thing_id: object) -> None:
        kind = self.code.removeprefix("unknown_")
        super().__init__(f"no {kind} {str(thing_id)[:64]!r}")


class UnknownJob(UnknownThing, code="unknown_job"):
    """A job has no row, or belongs to another workspace."""


class UnknownImage(UnknownThing, code="unknown_image"):
    """An image does not exist, or belongs to another workspace."""


class UnknownPreview(UnknownThing, code="unknown_preview"):
    """A preview does not exist (any more), or belongs to another workspace."""


class UnknownAsset(UnknownThing, code="unknown_asset"):
    """An asset does not exist, or belongs to another workspace."""


class UnknownWebhook(UnknownThing, code="unknown_webhook"):
    """A webhook does not exist, or belongs to another workspace."""


class UnknownDelivery(UnknownThing, code="unknown_delivery"):
    """A webhook has no such delivery (any more)."""


class JobRuns(DarkroomError, code="job_running"):
    """A job was to be deleted that has not ended."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"job {job_id} has not ended; cancel it first")


class AssetInUse(DarkroomError, code="asset_in_use"):
    """An asset was to be deleted that jobs still need."""

    def __init__(self, asset_id: object) -> None:
        super().__init__(f"asset {asset_id} is the reference of a job that has not ended")


class IdempotencyKeyReused(DarkroomError, code="idempotency_key_reused"):
    """An idempotency key came again, with another request."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"this Idempotency-Key was used for another request, job {job_id}")


class JobDeleted(DarkroomError, code="job_deleted"):
    """The job that an idempotency key has made was deleted; the key makes no other for a day."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"this Idempotency-Key was used for job {job_id}, which was deleted")


class LimitReached(DarkroomError, code="limit_reached"):
    """A workspace or an API key reached a limit, which has this name for clients."""

    policy: ClassVar[str] = ""
    window_seconds: ClassVar[int | None] = None
    holder: ClassVar[str] = "workspace"
    sentence: ClassVar[str] = "the {holder} has used all of its {limit} {what}; try again later"

    def __init__(self, limit: int, retry_after_seconds: int) -> None:
        what = self.policy.replace("-", " ")
        super().__init__(self.sentence.format(holder=self.holder, limit=limit, what=what))
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class TooManyOpenJobs(LimitReached, code="too_many_open_jobs"):
    """The workspace has as many jobs waiting or running as it may."""

    policy = "open-jobs"


class TooManySubmissions(LimitReached, code="too_many_submissions"):
    """The workspace has submitted as many jobs within a minute as it may."""

    policy = "submissions"
    window_seconds = 60


class BudgetExceeded(LimitReached, code="budget_exceeded"):
    """With this job the workspace could spend more on a day than it may."""

    policy = "cost-per-day"
    window_seconds = 86_400
    sentence = "the {holder} would exceed its budget of {limit} micro-dollars: {what}"


class MonthBudgetExceeded(BudgetExceeded):
    """With this job the workspace could spend more in a month than it may."""

    policy = "cost-per-month"
    window_seconds = 31 * 86_400


class TooManyStreams(LimitReached, code="too_many_streams"):
    """The workspace has as many event streams open as it may."""

    policy = "event-streams"


class TooManyAssets(LimitReached, code="too_many_assets"):
    """The workspace keeps as many uploaded pictures as it may."""

    policy = "assets"


class MalformedEnvelope(DarkroomError, code="malformed_envelope"):
    """What lay on the queue is not an envelope of ours."""


class ServiceUnavailable(DarkroomError, code="service_unavailable"):
    """A server this process needs (database, Redis, queue) cannot be reached."""


class AttemptError(DarkroomError):
    """An attempt ended without all its images.

    Attributes:
        charge_state: `none`, `charged` or `unknown`; None where the error does not know.
        retry_after_seconds: The least wait the provider asked for, if it did.
        provider_code: The provider's own code of the error, if it sent one.
        request_id: The provider's own id of the call, if it sent one.
    """

    def __init__(
        self,
        message: str,
        *,
        charge_state: str | None = None,
        retry_after_seconds: float | None = None,
        provider_code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.charge_state = charge_state
        self.retry_after_seconds = retry_after_seconds
        self.provider_code = provider_code
        self.request_id = request_id


class ProviderUnavailable(AttemptError, code="provider_unavailable"):
    """The provider did not answer, or answered with a fault of its own (network, 5xx)."""


class ProviderOverloaded(AttemptError, code="provider_overloaded"):
    """The provider has too much to do (503, 529) and did not begin."""


class ProviderTimeout(AttemptError, code="provider_timeout"):
    """The provider's answer did not come in time; `charge_state` says whether it was sent."""


class RateLimited(AttemptError, code="rate_limited"):
    """The provider asked us to come back later (429).

    Attributes:
        is_of_all_jobs: Whether other jobs of the provider had better wait, too.
    """

    is_of_all_jobs: ClassVar[bool] = True


class QuotaExceeded(AttemptError, code="quota_exceeded"):
    """The account with the provider is used up, or its bill unpaid."""


class ProviderRefusedKey(AttemptError, code="provider_authentication"):
    """The provider does not accept our key, or it may not do this (401, 403)."""


class PromptRejected(AttemptError, code="prompt_rejected"):
    """The provider refuses this prompt and always will."""


class RequestRejected(AttemptError, code="request_rejected"):
    """The provider does not understand, or does not offer, what we asked for (other 4xx)."""


class OutputRejected(AttemptError, code="output_rejected"):
    """The provider made a picture and withheld it; another may pass."""


class EmptyResult(AttemptError, code="empty_result"):
    """The provider answered, and there was no picture in the answer."""


class CorruptImage(AttemptError, code="corrupt_image"):
    """What the provider sent is cut short; another may be whole."""


class UnusableImage(AttemptError, code="unusable_image"):
    """What the provider sent, and was paid for, has a form that it would have again."""


class ImagesMissing(AttemptError, code="images_missing"):
    """The provider returned fewer images than asked; those that came are kept."""

    def __init__(self, asked: int, missing: int, *, charge_state: str | None = None) -> None:
        super().__init__(
            f"{missing} of {asked} images did not come from the provider", charge_state=charge_state
        )
        self.missing = missing


class ChargeUnknown(AttemptError, code="charge_unknown"):
    """An earlier call may have been billed, and nothing may be paid twice."""


class CostLimitReached(AttemptError, code="cost_limit"):
    """Another call might cost more than the request allows."""


class BudgetSpent(AttemptError, code="budget_exceeded"):
    """Another call might cost more than is left of the budget of the workspace."""


class StorageUnavailable(AttemptError, code="storage_unavailable"):
    """The image store could not keep or return bytes."""


class UnexpectedError(AttemptError, code="internal"):
    """A fault in the code of an attempt; it stays the same however often it is tried."""


class SoftTimeLimitReached(AttemptError, code="soft_time_limit"):
    """The attempt used up its soft time limit (or the margin before it)."""

    def __init__(self, limit_seconds: float, *, charge_state: str | None = None) -> None:
        super().__init__(
            f"Stopped at the soft time limit of {limit_seconds:g} s", charge_state=charge_state
        )


class TimeLimitReached(AttemptError, code="time_limit"):
    """The attempt was killed at the hard time limit."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"Killed at the time limit of {limit_seconds:g} s")


class WorkerLost(AttemptError, code="worker_lost"):
    """The worker died, or went silent, in the middle of an attempt."""

    MESSAGE: ClassVar[str] = "The worker was lost during attempt {}"

    def __init__(self, attempt: int) -> None:
        super().__init__(self.MESSAGE.format(attempt))


class JobCancelled(AttemptError, code="cancelled"):
    """A cancel was requested."""

    def __init__(self, reason: str = "Cancelled") -> None:
        super().__init__(reason)


class LeaseLost(AttemptError, code="lease_lost"):
    """This attempt no longer owns its job; whatever it still does must not be seen."""


class JobFailed(DarkroomError, code="job_failed"):
    """What `AsyncResult(task_id).get()` raises for a failed job; Celery rebuilds it by name.

    Args:
        failure_code: The `code` of the row's error.
        message: Its one-line reason.
    """

    def __init__(self, failure_code: str, message: str) -> None:
        super().__init__(failure_code, message)
        self.failure_code = failure_code
        self.message = message


def one_line(text: str) -> str:
    """Return the text as one bounded line without secrets, for a row and for a person to read."""
    if len(text) > _READ_MAX_CHARS:
        # Its end may be half of a secret.
        text = f"{redact(text[:_READ_MAX_CHARS])[:-MESSAGE_MAX_CHARS]}…"
    line = " ".join(_UNPRINTABLE.sub(" ", redact(text)).split())
    return line if len(line) <= MESSAGE_MAX_CHARS else line[: MESSAGE_MAX_CHARS - 1] + "…"


def public_line(error: DarkroomError) -> str:
    """Return what rows, events and clients may hold of an error; its own text may be private."""
    kind = KINDS.get(error.code, Kind())
    return kind.title if kind.is_private else one_line(str(error))


def error_record(error: DarkroomError, attempt: int) -> Mapping[str, Any]:
    """Return the structured error that goes into the row: code, message, retryable, attempt."""
    record: dict[str, Any] = {
        "code": error.code,
        "message": public_line(error),
        "retryable": error.retryable,
        "attempt": attempt,
    }
    for name in ("provider_code", "stage"):
        value = getattr(error, name, None)
        if value is not None:
            record[name] = one_line(value)
    return record
