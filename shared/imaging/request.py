"""The request: what a client may ask for, checked before a job is accepted.

Built by the API, the CLI and Python callers; `shared.generation.submit` writes it into a row.
"""

import secrets
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from typing_extensions import TypeAliasType

from shared.errors import InvalidRequest
from shared.imaging.params import REFERENCES_MAX, SEED_LIMIT, ImageOptions, ImageParams
from shared.pydantic_errors import describe
from shared.webhook_types import ENDINGS, WebhookEvents, WebhookUrl

START_WITHIN_MAX_SECONDS = 7 * 86_400

# Named, so that the OpenAPI document and generated clients have one type.
Priority = TypeAliasType("Priority", Literal["low", "normal", "high"])


def _number_as_text(value: object) -> object:
    return str(value) if type(value) is int else value


def _check_id(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable, without a space at its ends")
    return text


_AS_TEXT = BeforeValidator(_number_as_text, json_schema_input_type=str | int)

WorkspaceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$"), _AS_TEXT]
OwnerId = Annotated[
    str, StringConstraints(min_length=1, max_length=64), AfterValidator(_check_id), _AS_TEXT
]
"""The id of a user or product, as the shop writes it."""


class ImageOrder(ImageOptions):
    """What a client asks for: n images of one prompt."""

    # FastAPI warns of a body that is built late.
    model_config = ConfigDict(defer_build=False)

    user_id: OwnerId | None = Field(default=None, description="User who asks for the images.")
    product_id: OwnerId | None = Field(default=None, description="Product the images are of.")
    source_asset_id: UUID | None = Field(
        default=None,
        description="Picture that the images are based on: the id of an asset of the workspace.",
    )
    reference_asset_ids: list[UUID] = Field(
        default=[],
        max_length=REFERENCES_MAX,
        description="Further pictures, in the order that the prompt counts them in.",
    )
    mask_asset_id: UUID | None = Field(
        default=None,
        description="PNG of the size of the first picture, which is changed where this is "
        "transparent.",
    )
    priority: Priority = Field(
        default="normal",
        description="Jobs of a higher priority start first, whichever workspace they are of.",
    )
    start_within_seconds: int | None = Field(
        default=None,
        ge=1,
        le=START_WITHIN_MAX_SECONDS,
        strict=True,
        description="Cancel the job if it has not started after so long.",
    )
    webhook_url: WebhookUrl | None = Field(
        default=None, description="Where events of this job are sent, besides the webhooks."
    )
    webhook_events: WebhookEvents = Field(
        default=list(ENDINGS), description="Which events `webhook_url` receives."
    )

    @property
    def picture_ids(self) -> tuple[UUID, ...]:
        """The assets that the images are based on, in order."""
        first = () if self.source_asset_id is None else (self.source_asset_id,)
        return (*first, *self.reference_asset_ids)


class GenerationRequest(ImageOrder):
    """An order, and for whom it is."""

    workspace_id: WorkspaceId = Field(
        default="default", description="Workspace the job belongs to."
    )

    @classmethod
    def from_untrusted(cls, data: object) -> Self:
        """Build a request from data of unknown origin, such as parsed JSON.

        Raises:
            InvalidRequest: One line names every field that is wrong.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidRequest(describe(error, "request")) from None

    def params(self) -> ImageParams:
        """Return the parameters of a job.

        Without a seed, each call draws one: call it once a job, so that all attempts of the
        job share the seed.
        """
        params = self.model_dump(include=set(ImageParams.model_fields))
        seed = secrets.randbelow(SEED_LIMIT) if self.seed is None else self.seed
        return ImageParams(**{**params, "seed": seed})
