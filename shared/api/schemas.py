"""The bodies of the API, as its OpenAPI document describes them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.status import JobStatus

EXAMPLE_ID = "7d1f0a52-9c0b-4c39-8f53-2b0b8f0d5a11"


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True)


class ErrorBody(_Body):
    """Why an attempt, or the whole job, failed."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="Stable word for programs.", examples=["rate_limited"])
    message: str = Field(description="One line for a person.")
    retryable: bool = Field(description="Whether another attempt may help.")
    attempt: int = Field(description="The attempt it ended; 0 if none had begun.")


class AttemptBody(_Body):
    """One line of the ledger: a try, how it ended, and what is known of its bill."""

    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None = Field(description="`completed`, `failed`, `lost`; null while it runs.")
    charge_state: str = Field(
        description="Whether the provider was paid: `none`, `charged` or `unknown`."
    )
    provider: str | None
    model: str | None
    request_id: str | None = Field(description="The provider's own name for the call.")
    units: dict[str, int] | None = Field(description="What was billed, by name.")
    price_microdollars: int | None = Field(
        description="By the price table of the service; null where that has no entry."
    )
    error: ErrorBody | None


class ReceiptBody(_Body):
    """What the job cost so far: the ledger, added up."""

    price_microdollars: int = Field(description="Of all calls whose price is known.")
    charged_calls: int
    unknown_calls: int = Field(description="Calls that may have been billed: nobody knows.")
    unpriced_calls: int = Field(description="Calls that were billed and have no known price.")


class ImageBody(_Body):
    """One finished picture."""

    id: UUID
    position: int
    url: str = Field(description="Signed, and valid for an hour; the job has a new one.")
    media_type: str
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str
    seed: int
    provider: str
    model: str


class AssetBody(_Body):
    """A picture that was uploaded."""

    id: UUID = Field(description="For `source_asset_id` of a request.")
    product_id: str | None
    url: str = Field(description="Signed, and valid for an hour; the asset has a new one.")
    media_type: str
    width_px: int | None
    height_px: int | None
    size_bytes: int
    sha256: str | None = Field(description="Of the bytes as they are kept.")
    created_at: datetime


class PreviewBody(_Body):
    """What a picture in the making looks like so far."""

    position: int
    number: int = Field(description="Counts up with each newer one of this position.")
    url: str = Field(description="Signed; it is gone as soon as the attempt has ended.")
    media_type: str
    width_px: int
    height_px: int


class RetryBody(_Body):
    """What a job waits for."""

    attempt: int = Field(description="The attempt that comes next.")
    max_attempts: int
    code: str
    reason: str = Field(description="Why the attempt before failed, for a person.")
    next_attempt_at: datetime


class UrlsBody(_Body):
    """Where to go from here; relative to the API's address unless PUBLIC_BASE_URL is set."""

    self: str
    events: str = Field(description="For EventSource: signed for this job, and short-lived.")
    cancel: str


class JobBody(_Body):
    """One accepted request."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    task_id: str
    status: JobStatus
    progress: int = Field(ge=0, le=100)
    message: str = Field(examples=["Rendering..."])
    prompt: str
    style: str
    size: str
    n: int
    seed: int | None
    product_id: str | None
    source_asset_id: UUID | None
    metadata: dict[str, Any]
    images: list[ImageBody]
    previews: list[PreviewBody] = Field(
        description="While an attempt runs: its pictures in the making, where a model shows any."
    )
    missing: int = Field(description="Images of a completed job that never came.")
    error: ErrorBody | None = Field(
        description="Why the job failed, or why the attempt before the one it waits for did."
    )
    attempt: int = Field(description="Attempts that have begun.")
    max_attempts: int
    attempts: list[AttemptBody]
    receipt: ReceiptBody
    retry: RetryBody | None = Field(description="Set while the job waits for another attempt.")
    next_attempt_at: datetime | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    urls: UrlsBody


class PageBody(_Body):
    """Jobs, newest first."""

    items: list[JobBody]
    next_cursor: str | None = Field(description="For the next page; null on the last.")


class StyleBody(_Body):
    """A preset of scene and light."""

    id: str
    title: str
    description: str


class ScriptBody(_Body):
    """A tag that tells the mock provider how to behave, when it stands in a prompt."""

    tag: str = Field(examples=["[[fail:1]]"])
    meaning: str


class StylesBody(_Body):
    """All presets."""

    items: list[StyleBody]
    default: str
    scripts: list[ScriptBody] = Field(
        description="Where the mock provider draws: how to make each thing happen that can."
    )


class ErrorTitleBody(_Body):
    """A code that the `error` of a job may have."""

    code: str = Field(examples=["rate_limited"])
    title: str = Field(description="Short text for a person.")
    retryable: bool = Field(description="Whether another attempt may help.")


class OptionsBody(_Body):
    """What a request may ask for, and every word that a job may answer with."""

    sizes: Sequence[str]
    default_size: str
    styles: Sequence[StyleBody]
    default_style: str
    images_max: int = Field(description="The most images of one job.")
    prompt_max_chars: int
    upload_media_types: Sequence[str]
    upload_max_bytes: int
    statuses: Sequence[JobStatus]
    errors: Sequence[ErrorTitleBody]
    scripts: Sequence[ScriptBody] = Field(
        description="Tags that the mock provider obeys; empty where it does not obey any."
    )


class HealthBody(_Body):
    """The process answers."""

    status: str = Field(examples=["ok"])


class ReadyBody(_Body):
    """Whether everything that the API needs answers."""

    status: str = Field(examples=["ready"])
    checks: dict[str, str]


class FieldProblemBody(_Body):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemBody(_Body):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:darkroom:problem:invalid_request"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable word for programs.", examples=["invalid_request"])
    errors: list[FieldProblemBody] | None = None
