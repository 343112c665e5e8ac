"""The JSON bodies of the API, as the OpenAPI document describes them.

A job is `JobBody`; `presenter` fills it.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from typing_extensions import TypeAliasType

from shared.api.problem_codes import PROBLEMS
from shared.errors import DarkroomError
from shared.imaging.params import DEFAULT_SIZE, Size, Style
from shared.imaging.request import Priority
from shared.imaging.styles import DEFAULT_STYLE
from shared.status import JobStatus


def _subclasses(kind: type[DarkroomError]) -> Iterable[type[DarkroomError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


JOB_ERRORS = sorted(
    {kind.code: kind for kind in _subclasses(DarkroomError) if kind.title}.values(),
    key=lambda kind: kind.code,
)
"""The errors that a job may have."""


ErrorCode = TypeAliasType(
    "ErrorCode", Annotated[str, Field(json_schema_extra={"enum": [e.code for e in JOB_ERRORS]})]
)
"""A text for pydantic, so that a row with a code of another version can be shown."""

ProblemCode = TypeAliasType(
    "ProblemCode", Annotated[str, Field(json_schema_extra={"enum": list(PROBLEMS)})]
)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True)


class EventBody(_Body):
    """The `data` of one event: a step of a job."""

    status: JobStatus
    progress: int = Field(ge=0, le=100, description="Never falls within one attempt.")
    message: str = Field(description="One line for a person.")


def _add_optional_fields(schema: dict[str, Any]) -> None:
    schema["properties"] |= {
        "provider_code": {"type": "string", "description": "The provider's own code."},
        "stage": {"enum": ["input", "output"], "description": "What the provider rejected."},
    }


class ErrorBody(_Body):
    """The reason why an attempt, or the whole job, failed."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_optional_fields)

    code: ErrorCode = Field(description="Stable code for programs.")
    message: str = Field(description="One line for a person.")
    retryable: bool = Field(description="Whether another attempt may help.")
    attempt: int = Field(description="The attempt that failed; 0 if none had begun.")


class AttemptBody(_Body):
    """One attempt: how it ended, and what the provider billed for it."""

    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None = Field(description="`completed`, `failed` or `lost`; null while it runs.")
    charge_state: str = Field(
        description="Whether the provider billed the call: `none`, `charged` or `unknown`."
    )
    provider: str | None
    model: str | None
    request_id: str | None = Field(description="The provider's own id of the call.")
    units: dict[str, int] | None = Field(description="The billed units, by name.")
    price_microdollars: int | None = Field(
        description="By the price table of the service; null if it has no entry."
    )
    error: ErrorBody | None


class ReceiptBody(_Body):
    """The cost of all attempts so far."""

    price_microdollars: int = Field(description="The sum of all known prices.")
    charged_calls: int
    unknown_calls: int = Field(description="Calls that may have been billed.")
    unpriced_calls: int = Field(description="Billed calls without a known price.")
    models: list[str] = Field(description="Those that were called, in their order.")


class ImageBody(_Body):
    """One finished image."""

    id: UUID
    position: int
    url: str = Field(
        description="Signed, and valid for an hour; each GET of the job returns a new one."
    )
    media_type: str
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str
    seed: int
    provider: str
    model: str


class AssetBody(_Body):
    """An uploaded picture."""

    id: UUID = Field(description="For `source_asset_id` of a request, and its other pictures.")
    product_id: str | None
    url: str = Field(
        description="Signed, and valid for an hour; each GET of the asset returns a new one."
    )
    media_type: str
    width_px: int | None
    height_px: int | None
    size_bytes: int
    sha256: str | None = Field(description="Of the stored bytes.")
    created_at: datetime


class AssetPageBody(_Body):
    """Uploaded pictures, newest first."""

    items: list[AssetBody]
    next_cursor: str | None = Field(description="For the next page; null on the last page.")


class PreviewBody(_Body):
    """A preview of an image of a running attempt."""

    position: int
    number: int = Field(description="Rises with each newer preview of this position.")
    url: str = Field(description="Signed; the preview is deleted when the attempt ends.")
    media_type: str
    width_px: int
    height_px: int


class RetryBody(_Body):
    """The attempt that a job waits for."""

    attempt: int = Field(description="The number of the next attempt.")
    max_attempts: int
    code: ErrorCode
    reason: str = Field(description="Why the last attempt failed, for a person.")
    next_attempt_at: datetime


class QueueBody(_Body):
    """Where a job waits for a slot."""

    position: int | None = Field(
        description="1 for the job that starts next; null beyond some hundred jobs."
    )
    estimated_start_at: datetime | None = Field(
        description="From the run times of recent jobs; null where nothing was measured, or where "
        "the job waits for a limit or the end of a pause."
    )


class UrlsBody(_Body):
    """Addresses of the job; relative to the API's own unless PUBLIC_BASE_URL is set."""

    self: str
    events: str = Field(description="For EventSource; signed, and valid for some minutes.")
    cancel: str


def _else(default: Any) -> WrapValidator:
    """Show this instead of a parameter that a foreign producer left out or got wrong."""

    def read(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        with suppress(ValidationError):
            return check(value)
        return default

    return WrapValidator(read)


class JobBody(_Body):
    """One accepted request."""

    # A field is shown as soon as it is listed here: it is the column of the row by its name, else
    # the parameter of the request. `Presenter.show` makes the others.
    id: UUID
    task_id: str
    status: JobStatus
    progress: int = Field(ge=0, le=100)
    message: str = Field(description="One line for a person.")
    prompt: Annotated[str, _else("")]
    model: str | None = Field(
        description="Which makes the images, or is asked next; null for a waiting job that names "
        "none."
    )
    models: Annotated[list[str] | None, _else(None)] = Field(
        description="Those that are tried in this order, if the request names several."
    )
    style: Annotated[str, _else(DEFAULT_STYLE)] = Field(
        description="One of the styles, unless the row is not of this API."
    )
    size: Annotated[str, _else(DEFAULT_SIZE)] = Field(
        description="One of the sizes, unless the row is not of this API."
    )
    quality: Annotated[str | None, _else(None)]
    background: Annotated[str | None, _else(None)]
    output_format: Annotated[str | None, _else(None)]
    output_compression: Annotated[StrictInt | None, _else(None)]
    moderation: Annotated[str | None, _else(None)]
    n: Annotated[StrictInt, _else(1)]
    seed: Annotated[StrictInt | None, _else(None)]
    user_id: str | None
    product_id: str | None
    source_asset_id: UUID | None
    reference_asset_ids: list[UUID] = Field(description="Further pictures, in order.")
    mask_asset_id: UUID | None
    retry_of: UUID | None = Field(description="The job that this one retries.")
    metadata: Annotated[dict[str, Any], _else({})]
    priority: Priority
    start_by: datetime | None = Field(
        description="The job is cancelled if it has not started by then."
    )
    images: list[ImageBody]
    previews: list[PreviewBody] = Field(
        description="Of the running attempt, if the model sends any."
    )
    missing: int = Field(description="Images of a completed job that were not made.")
    error: ErrorBody | None = Field(
        description="Why the job failed, or the last attempt of a waiting job."
    )
    attempt: int = Field(description="Attempts that have begun.")
    max_attempts: int
    attempts: list[AttemptBody]
    receipt: ReceiptBody
    retry: RetryBody | None = Field(description="Set while the job waits for another attempt.")
    queue: QueueBody | None = Field(
        description="Of a job that was read alone, while it waits for its first attempt."
    )
    next_attempt_at: datetime | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    urls: UrlsBody


class QuotedModelBody(_Body):
    """A model, and what it would cost."""

    model: str
    provider: str
    price_microdollars: int | None = Field(
        description="Of all images, by the price table of the service; null if it has no entry."
    )


class LimitBody(_Body):
    """What is left of a limit of the workspace."""

    policy: str = Field(description="As in the header RateLimit; costs are in micro-dollars.")
    limit: int
    remaining: int
    window_seconds: int | None = Field(description="The time that the limit is for.")
    reset_seconds: int | None = Field(description="Until all of it may be used again.")


class QuoteBody(_Body):
    """What a request would cost; no job was accepted."""

    models: list[QuotedModelBody] = Field(description="In the order in which they are tried.")
    limits: list[LimitBody]
    refusal: ProblemCode | None = Field(
        description="What the request would be refused with now; null: it would be accepted."
    )


class PageBody(_Body):
    """Jobs, newest first."""

    items: list[JobBody]
    next_cursor: str | None = Field(description="For the next page; null on the last page.")


class StyleBody(_Body):
    """A preset of scene and light."""

    id: Style
    title: str
    description: str


class ScriptBody(_Body):
    """A tag in a prompt, which the mock provider obeys."""

    tag: str = Field(examples=["[[fail:1]]"])
    meaning: str


class StatusTitleBody(_Body):
    """A status that a job may have."""

    status: JobStatus
    title: str = Field(description="Short text for a person.")
    is_final: bool = Field(description="Whether a job with this status never changes again.")


class ErrorTitleBody(_Body):
    """A code that the `error` of a job may have."""

    code: ErrorCode
    title: str = Field(description="Short text for a person.")
    retryable: bool = Field(description="Whether another attempt may help.")


class OptionsBody(_Body):
    """What a request may ask for, and every status and error code of a job."""

    sizes: Sequence[Size]
    default_size: Size
    styles: Sequence[StyleBody]
    default_style: Style
    images_max: int = Field(description="The most images of one job.")
    prompt_max_chars: int
    upload_media_types: Sequence[str]
    upload_max_bytes: int
    statuses: Sequence[StatusTitleBody]
    errors: Sequence[ErrorTitleBody]
    scripts: Sequence[ScriptBody] = Field(
        description="Tags that the mock provider obeys; empty with other providers."
    )


class HealthBody(_Body):
    """The process responds."""

    status: str = Field(examples=["ok"])


class ReadyBody(_Body):
    """Whether all servers that requests need respond."""

    status: str = Field(examples=["ready"])
    checks: dict[str, str]
    restarts: dict[str, int] = Field(
        description="How often background tasks of this process failed and began anew, by name."
    )


class FieldProblemBody(_Body):
    """One invalid field."""

    field: str
    message: str


class ProblemBody(_Body):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:darkroom:problem:` and the code.")
    title: str
    status: int
    detail: str = Field(description="One line for a person.")
    code: ProblemCode = Field(description="Stable code for programs.")
    errors: list[FieldProblemBody] = Field(
        default_factory=list, description="Of a request that is not valid."
    )
