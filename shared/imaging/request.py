"""The request: what a client may ask for, checked before a job is accepted.

Built by the API, the CLI and Python callers; `shared.generation.submit` writes it into a row.
"""

import secrets
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from typing_extensions import TypeAliasType

from shared.errors import InvalidRequest
from shared.imaging.params import (
    DEFAULT_SIZE,
    IMAGES_MAX,
    PROMPT_MAX_CHARS,
    SEED_LIMIT,
    ImageParams,
    SizeName,
    check_printable,
    clean_prompt,
)
from shared.imaging.styles import DEFAULT_STYLE, StyleId
from shared.pydantic_errors import describe

METADATA_MAX_KEYS = 16


def _printable(text: str) -> str:
    check_printable(text)
    return text


# Named, so that the OpenAPI document and generated clients have one type of each.
Size = TypeAliasType("Size", SizeName)
Style = TypeAliasType("Style", StyleId)

OwnerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
MetadataKey = Annotated[
    str, StringConstraints(min_length=1, max_length=64), AfterValidator(_printable)
]
MetadataValue = Annotated[str, StringConstraints(max_length=512), AfterValidator(_printable)]


class ImageOrder(BaseModel):
    """What a client asks for: n images of one prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    prompt: Annotated[str, AfterValidator(clean_prompt)] = Field(
        description=f"What to show: 1 to {PROMPT_MAX_CHARS} characters."
    )
    style: Style = Field(default=DEFAULT_STYLE, description="Preset of scene and light.")
    size: Size = Field(default=DEFAULT_SIZE, description="Width and height, in pixels.")
    n: int = Field(
        default=1, ge=1, le=IMAGES_MAX, strict=True, description="How many images to make."
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=SEED_LIMIT,
        strict=True,
        description="The same seed and prompt give the same images; drawn at random if absent.",
    )
    product_id: OwnerId | None = Field(default=None, description="Product the images are of.")
    source_asset_id: UUID | None = Field(
        default=None,
        description="Picture that the images are based on: the id of an asset of the workspace.",
    )
    on_unknown_charge: Literal["retry", "fail"] | None = Field(
        default=None,
        description="Whether a call that may have been billed in vain is followed by another; "
        "null: as the service is set up.",
    )
    max_cost: int | None = Field(
        default=None,
        ge=0,
        strict=True,
        description="Refuse the request if its images cost more, in micro-dollars.",
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=METADATA_MAX_KEYS,
        description="The caller's own labels, kept with the job and not interpreted.",
    )


class GenerationRequest(ImageOrder):
    """An order, and for whom it is."""

    workspace_id: OwnerId = Field(default="default", description="Workspace the job belongs to.")
    user_id: OwnerId | None = Field(default=None, description="User who asked for the images.")

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
        width_px, height_px = (int(side) for side in self.size.split("x"))
        return ImageParams(
            prompt=self.prompt,
            style=self.style,
            width_px=width_px,
            height_px=height_px,
            n=self.n,
            seed=secrets.randbelow(SEED_LIMIT) if self.seed is None else self.seed,
            on_unknown_charge=self.on_unknown_charge,
            max_cost_microdollars=self.max_cost,
            metadata=self.metadata,
        )
