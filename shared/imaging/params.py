"""The parameters of a job: which images to make, and on which conditions.

Parsed once: at submission from a `GenerationRequest`, at the claim from the row, whose `params`
a foreign producer may have written.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from typing_extensions import TypeAliasType

from shared.errors import InvalidRequest
from shared.imaging.styles import DEFAULT_STYLE, StyleId
from shared.pydantic_errors import describe

SIZE_NAMES = ("256x256", "512x512", "1024x1024", "1024x1536", "1536x1024")
"""Those that are usual; a model may have others."""

AUTO = "auto"
"""A value that leaves the choice to the model."""

DEFAULT_SIZE = "1024x1024"
PROMPT_MAX_CHARS = 4000
IMAGES_MAX = 10
REFERENCES_MAX = 16
"""Pictures that the images of a job are based on; no model takes more."""

SEED_LIMIT = 2**31
MODELS_MAX = 5
METADATA_MAX_KEYS = 16

# A lone surrogate cannot be encoded as UTF-8, a NUL cannot be kept by PostgreSQL.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _clean_prompt(prompt: str) -> str:
    """Return the prompt stripped, with plain newlines; the errors read well after its name."""
    text = prompt.replace("\r\n", "\n").strip()
    if not text:
        raise ValueError("must not be empty")
    if len(text) > PROMPT_MAX_CHARS:
        raise ValueError(f"must have at most {PROMPT_MAX_CHARS} characters, not {len(text)}")
    return _check_printable(text)


def _check_printable(text: str) -> str:
    """Let a text pass without control characters other than newline and tab."""
    found = _UNPRINTABLE.search(text)
    if found:
        raise ValueError(f"must not contain the control character U+{ord(found.group()):04X}")
    return text


# Named, so that the OpenAPI document and generated clients have one type of each.
Size = TypeAliasType(
    "Size", Annotated[str, StringConstraints(pattern=r"^(auto|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})$")]
)
Style = TypeAliasType("Style", StyleId)

Prompt = Annotated[str, AfterValidator(_clean_prompt)]
Quality = Annotated[str, StringConstraints(pattern="^[a-z]{1,16}$")]
ModelName = Annotated[
    str, StringConstraints(min_length=1, max_length=255), AfterValidator(_check_printable)
]
MetadataKey = Annotated[
    str, StringConstraints(min_length=1, max_length=64), AfterValidator(_check_printable)
]
MetadataValue = Annotated[str, StringConstraints(max_length=512), AfterValidator(_check_printable)]


class ImageOptions(BaseModel):
    """What may be said of the images of one job."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )

    prompt: Prompt = Field(description=f"What to show: 1 to {PROMPT_MAX_CHARS} characters.")
    model: ModelName | None = Field(
        default=None, description="One of `GET /v1/models`; the default one if absent."
    )
    models: list[ModelName] | None = Field(
        default=None,
        min_length=1,
        max_length=MODELS_MAX,
        description="Instead of `model`: several, in the order in which they are tried. The next "
        "one is tried only if the provider has certainly charged nothing.",
    )
    style: Style = Field(default=DEFAULT_STYLE, description="Preset of scene and light.")
    size: Size = Field(
        default=DEFAULT_SIZE,
        description="Width and height in pixels, or `auto`: as the model offers.",
    )
    quality: Quality | None = Field(
        default=None, description="As the model names it; as the service is set up if absent."
    )
    background: Literal["auto", "opaque", "transparent"] | None = Field(
        default=None, description="What is behind the product, where the model has a choice."
    )
    output_format: Literal["png", "jpeg", "webp"] | None = Field(
        default=None, description="Format of the images; as the service is set up if absent."
    )
    output_compression: int | None = Field(
        default=None,
        ge=0,
        le=100,
        strict=True,
        description="Quality of JPEG and WebP files, in percent.",
    )
    moderation: Literal["auto", "low"] | None = Field(
        default=None, description="How strictly the provider filters, where it has a choice."
    )
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

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: list[str] | None, found: ValidationInfo) -> list[str] | None:
        if models and found.data.get("model") is not None:
            raise ValueError("must not come with model")
        if models and len(set(models)) < len(models):
            raise ValueError("must not name a model twice")
        return models


_CONDITIONS = frozenset({"on_unknown_charge", "max_cost", "metadata"})
"""What a row may hold in any form: it does not change the images."""


class ImageParams(ImageOptions):
    """The images that one job makes, as its row keeps them.

    The seed is that of the image at position 0; the other images count up from it.
    """

    seed: int = Field(ge=0, lt=SEED_LIMIT, strict=True)

    @classmethod
    def from_row(cls, params: Mapping[str, Any], job_id: UUID) -> Self:
        """Parse the `params` of a row, which a foreign producer may have written.

        Only the prompt is required. A missing seed follows from the job's id, so that every
        attempt asks for the same images. Conditions that cannot be read count as absent.

        Raises:
            InvalidRequest: The params cannot be served; one line names the field.
        """
        given = {name: params[name] for name in cls.model_fields if params.get(name) is not None}
        try:
            return cls.model_validate({"seed": job_id.int % SEED_LIMIT, **given})
        except ValidationError as error:
            unread = {str(detail["loc"][0]) for detail in error.errors()}
            if unread <= _CONDITIONS:
                readable = {name: given[name] for name in given.keys() - unread}
                return cls.from_row(readable, job_id)
            raise InvalidRequest(describe(error, "params")) from None

    def as_row(self) -> dict[str, Any]:
        """Return what the row keeps in `params`; `from_row` reads it back."""
        return self.model_dump(exclude_none=True)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height; of the default size if the model chooses."""
        width, height = (DEFAULT_SIZE if self.size == AUTO else self.size).split("x")
        return int(width), int(height)
