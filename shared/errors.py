"""All errors: each class names its `code`, and whether another attempt may help."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

MESSAGE_MAX_CHARS = 500

# PostgreSQL keeps neither NUL nor lone surrogates; the others would control a terminal.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class DarkroomError(Exception):
    """Root of all errors of this project.

    Attributes:
        code: Stable word for programs, kept in the row's `error`.
        title: Short text for a person; empty for errors that no row holds.
        retryable: Whether the retry policy may open another attempt after this error.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = ""
    retryable: ClassVar[bool] = False


class ConfigurationError(DarkroomError):
    """A setting is missing or wrong; the message names the setting and the way out."""

    code = "configuration"


class InvalidRequest(DarkroomError):
    """A request that no attempt could serve."""

    code = "invalid_request"
    title = "The request was not valid"


class UnknownThing(DarkroomError):
    """A thing does not exist, or does not belong to the caller."""

    code = "not_found"
    KIND: ClassVar[str] = "thing"

    def __init__(self, thing_id: object) -> None:
        super().__init__(f"no {self.KIND} {str(thing_id)[:64]!r}")


class UnknownJob(UnknownThing):
    """A job has no row, or belongs to another workspace."""

    code = "unknown_job"
    KIND = "job"


class UnknownImage(UnknownThing):
    """An image does not exist, or belongs to another workspace."""

    code = "unknown_image"
    KIND = "image"


class UnknownPreview(UnknownThing):
    """A preview does not exist (any more), or belongs to another workspace."""

    code = "unknown_preview"
    KIND = "preview"


class UnknownAsset(UnknownThing):
    """An asset does not exist, or belongs to another workspace."""

    code = "unknown_asset"
    KIND = "asset"


class JobRuns(DarkroomError):
    """A job was to be deleted that has not ended."""

    code = "job_running"

    def __init__(self, job_id: object) -> None:
        super().__init__(f"job {job_id} has not ended; cancel it first")


class AssetInUse(DarkroomError):
    """An asset was to be deleted that jobs still need."""

    code = "asset_in_use"

    def __init__(self, asset_id: object) -> None:
        super().__init__(f"asset {asset_id} is the reference of a job that has not ended")


class IdempotencyKeyReused(DarkroomError):
    """An idempotency key came again, with another request."""

    code = "idempotency_key_reused"

    def __init__(self, job_id: object) -> None:
        super().__init__(f"this Idempotency-Key was used for another request, job {job_id}")


class LimitReached(DarkroomError):
    """A workspace reached a limit; `retry_after_seconds` says when to try again."""

    code = "limit_reached"

    def __init__(self, what: str, limit: int, retry_after_seconds: int) -> None:
        super().__init__(f"the workspace has its {limit} {what}; try again later")
        self.retry_after_seconds = retry_after_seconds


class TooManyOpenJobs(LimitReached):
    """The workspace has as many jobs waiting or running as it may."""

    code = "too_many_open_jobs"

    def __init__(self, limit: int) -> None:
        super().__init__("open jobs", limit, retry_after_seconds=5)


class TooManyStreams(LimitReached):
    """The workspace has as many event streams open as it may."""

    code = "too_many_streams"

    def __init__(self, limit: int) -> None:
        super().__init__("open event streams", limit, retry_after_seconds=15)


class MalformedEnvelope(DarkroomError):
    """What lay on the queue is not an envelope of ours."""

    code = "malformed_envelope"


class ServiceUnavailable(DarkroomError):
    """A server this process needs (database, Redis, queue) cannot be reached."""

    code = "service_unavailable"
    title = "A server was unavailable"
    retryable = True


class AttemptError(DarkroomError):
    """An attempt ended without all its images.

    Attributes:
        stage: What the provider rejected: `input` or `output`; else None.
        charge_state: `none`, `charged` or `unknown`; None where the error does not know.
        retry_after_seconds: The least wait the provider asked for, if it did.
        provider_code: The provider's own code of the error, if it sent one.
        request_id: The provider's own id of the call, if it sent one.
    """

    stage: ClassVar[str | None] = None

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


class ProviderUnavailable(AttemptError):
    """The provider did not answer, or answered with a fault of its own (network, 5xx)."""

    code = "provider_unavailable"
    title = "The image provider was unavailable"
    retryable = True


class ProviderOverloaded(AttemptError):
    """The provider has too much to do (503, 529) and did not begin."""

    code = "provider_overloaded"
    title = "The image provider was overloaded"
    retryable = True


class ProviderTimeout(AttemptError):
    """The provider's answer did not come in time; `charge_state` says whether it was sent."""

    code = "provider_timeout"
    title = "The image provider did not answer in time"
    retryable = True


class RateLimited(AttemptError):
    """The provider asked us to come back later (429)."""

    code = "rate_limited"
    title = "The image provider was too busy"
    retryable = True


class QuotaExceeded(AttemptError):
    """The account with the provider is used up, or its bill unpaid."""

    code = "quota_exceeded"
    title = "The account with the image provider is used up"


class ProviderRefusedKey(AttemptError):
    """The provider does not accept our key, or it may not do this (401, 403)."""

    code = "provider_authentication"
    title = "The image provider refused the API key"


class PromptRejected(AttemptError):
    """The provider refuses this prompt and always will."""

    code = "prompt_rejected"
    title = "The prompt was rejected"
    stage = "input"


class RequestRejected(AttemptError):
    """The provider does not understand, or does not offer, what we asked for (other 4xx)."""

    code = "request_rejected"
    title = "The image provider did not accept the request"
    stage = "input"


class OutputRejected(AttemptError):
    """The provider made a picture and withheld it; another may pass."""

    code = "output_rejected"
    title = "The image provider withheld the image"
    stage = "output"
    retryable = True


class EmptyResult(AttemptError):
    """The provider answered, and there was no picture in the answer."""

    code = "empty_result"
    title = "The image provider sent no image"
    stage = "output"
    retryable = True


class CorruptImage(AttemptError):
    """What the provider sent is cut short, or no picture."""

    code = "corrupt_image"
    title = "The image provider sent an incomplete image"
    stage = "output"
    retryable = True


class ImagesMissing(AttemptError):
    """The provider returned fewer images than asked; those that came are kept."""

    code = "images_missing"
    title = "Some images were not made"
    stage = "output"
    retryable = True

    def __init__(self, asked: int, missing: int, *, charge_state: str | None = None) -> None:
        super().__init__(
            f"{missing} of {asked} images did not come from the provider", charge_state=charge_state
        )
        self.missing = missing


class ChargeUnknown(AttemptError):
    """An earlier call may have been billed, and nothing may be paid twice."""

    code = "charge_unknown"
    title = "Not tried again, because the last call may have been billed"


class CostLimitReached(AttemptError):
    """Another call might cost more than the request allows."""

    code = "cost_limit"
    title = "Another call could cost more than the request allows"


class StorageUnavailable(AttemptError):
    """The image store could not keep or return bytes."""

    code = "storage_unavailable"
    title = "The image store was unavailable"
    retryable = True


class UnexpectedError(AttemptError):
    """A fault in the code of an attempt; it stays the same however often it is tried."""

    code = "internal"
    title = "An unexpected error occurred"


class SoftTimeLimitReached(AttemptError):
    """The attempt used up its soft time limit (or the margin before it)."""

    code = "soft_time_limit"
    title = "The job took too long"

    def __init__(self, limit_seconds: float, *, charge_state: str | None = None) -> None:
        super().__init__(
            f"Stopped at the soft time limit of {limit_seconds:g} s", charge_state=charge_state
        )


class TimeLimitReached(AttemptError):
    """The attempt was killed at the hard time limit."""

    code = "time_limit"
    title = "The job took too long and was stopped"

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"Killed at the time limit of {limit_seconds:g} s")


class WorkerLost(AttemptError):
    """The worker died, or went silent, in the middle of an attempt."""

    code = "worker_lost"
    title = "The worker was lost"
    retryable = True
    MESSAGE: ClassVar[str] = "The worker was lost during attempt {}"

    def __init__(self, attempt: int) -> None:
        super().__init__(self.MESSAGE.format(attempt))


class JobCancelled(AttemptError):
    """A cancel was requested."""

    code = "cancelled"
    title = "Cancelled"

    def __init__(self) -> None:
        super().__init__("Cancelled")


class LeaseLost(AttemptError):
    """This attempt no longer owns its job; whatever it still does must not be seen."""

    code = "lease_lost"


class JobFailed(DarkroomError):
    """What `AsyncResult(task_id).get()` raises for a failed job; Celery rebuilds it by name.

    Args:
        failure_code: The `code` of the row's error.
        message: Its one-line reason.
    """

    code = "job_failed"

    def __init__(self, failure_code: str, message: str) -> None:
        super().__init__(failure_code, message)
        self.failure_code = failure_code
        self.message = message


def one_line(text: str) -> str:
    """Return the text as one bounded line, fit for a row and for a person to read."""
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return line if len(line) <= MESSAGE_MAX_CHARS else line[: MESSAGE_MAX_CHARS - 1] + "…"


def error_record(error: DarkroomError, attempt: int) -> Mapping[str, Any]:
    """Return the structured error that goes into the row: code, message, retryable, attempt."""
    record: dict[str, Any] = {
        "code": error.code,
        "message": one_line(str(error)),
        "retryable": error.retryable,
        "attempt": attempt,
    }
    for name in ("provider_code", "stage"):
        value = getattr(error, name, None)
        if value is not None:
            record[name] = one_line(value)
    return record
