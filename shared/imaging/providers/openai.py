"""The OpenAI Images API, and every server that speaks it: what it offers, costs and answers.

Facts on models: `openai` 3.54 (Python SDK), `types/image_generate_params.py` and
`types/image_model.py`. `openai_images` makes the calls, `openai_answers` reads the answers.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from shared.errors import OutputRejected, PromptRejected, QuotaExceeded
from shared.imaging.params import AUTO, REFERENCES_MAX, SIZE_NAMES
from shared.imaging.provider import ImageProvider
from shared.imaging.providers.declaration import (
    ANY,
    FreeSizes,
    Offer,
    PriceTable,
    ProviderDeclaration,
    ProviderSettings,
    price_of,
)
from shared.imaging.providers.error_rules import AROUND_HTTP, HTTP_STATUSES, ErrorRule
from shared.setting_types import BaseAddress, HeaderKey, Names


class OpenAISettings(ProviderSettings):
    """What the calls say."""

    openai_api_key: HeaderKey | None = Field(
        None, description="Key of the image API. Workers need it when AI_MOCK_MODE=false."
    )
    openai_api_key_file: Path | None = Field(None, description="File that holds OPENAI_API_KEY.")
    openai_base_url: BaseAddress | None = Field(
        None, description="Another server that speaks the OpenAI Images API, as `https://host/v1`."
    )
    openai_model: str = Field("gpt-image-2.5-flare", max_length=255, description="Default model.")
    openai_model_family: str | None = Field(
        None,
        max_length=255,
        description="Model whose dialect OPENAI_MODEL speaks, such as `gpt-image-2`, where its own "
        "name does not say so: that of a deployment.",
    )
    openai_omit: Names = Field(
        (),
        description="Parameters that are never sent, separated by commas, such as "
        "`size,response_format`.",
    )
    openai_quality: str = Field(
        "auto", pattern=r"^[a-z]{1,16}$", description="Quality, as the model names it."
    )
    openai_output_format: Literal["png", "jpeg", "webp"] = Field(
        "png", description="Format of the images (gpt-image models)."
    )
    openai_partial_images: int = Field(
        3, ge=0, le=3, description="Previews of an image, each a step of its progress; 0: none."
    )
    openai_prices: PriceTable = Field(
        {},
        description="Micro-dollars of one image, as JSON: by `quality size`, size, quality or `*`.",
    )
    openai_timeout_seconds: float = Field(
        120, gt=0, description="Longest silence of the provider in the middle of a call."
    )

    @field_validator("openai_omit")
    @classmethod
    def _check_omit(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if needed := sorted(NEEDED & {*names}):
            raise ValueError(f"must not hold {', '.join(needed)}: no server can do without")
        return names


NEEDED = frozenset({"model", "prompt", "image", "mask"})
"""Parameters without which there is no request, or another one."""

_QUALITIES = ("low", "medium", "high")
_GPT_IMAGE = Offer(
    "gpt-image-*",
    ("1024x1024", "1024x1536", "1536x1024", AUTO),
    previews_max=3,
    references_max=REFERENCES_MAX,
    takes_mask=True,
    qualities=_QUALITIES,
    backgrounds=("opaque", "transparent"),
    output_formats=("png", "jpeg", "webp"),
    moderations=("low",),
)
# The least number of pixels is no fact of the SDK: docs.apiyi.com has measured it.
_FREE_SIZES = FreeSizes(
    step_px=16, longest_px=3840, pixels_min=655_360, pixels_max=3840 * 2160, ratio_max=3
)

OFFERS = (
    replace(
        _GPT_IMAGE,
        model="gpt-image-2.5-*",
        free_sizes=_FREE_SIZES,
        qualities=(*_QUALITIES, "xhigh", "max"),
    ),
    replace(_GPT_IMAGE, model="gpt-image-2", free_sizes=_FREE_SIZES),
    replace(_GPT_IMAGE, model="gpt-image-2-*", free_sizes=_FREE_SIZES),
    _GPT_IMAGE,
    replace(_GPT_IMAGE, model="chatgpt-image-*"),
    Offer(
        "dall-e-2",
        ("256x256", "512x512", "1024x1024"),
        references_max=0,
        qualities=("standard",),
    ),
    Offer(
        "dall-e-3",
        ("1024x1024", "1792x1024", "1024x1792"),
        images_max=1,
        references_max=0,
        qualities=("standard", "hd"),
    ),
    # A model of another server: nothing is known of it.
    Offer(
        "*",
        (*SIZE_NAMES, AUTO),
        references_max=REFERENCES_MAX,
        takes_mask=True,
        free_sizes=FreeSizes(
            step_px=1, longest_px=8192, pixels_min=64**2, pixels_max=8192**2, ratio_max=8
        ),
        qualities=ANY,
        backgrounds=ANY,
        output_formats=ANY,
        moderations=ANY,
    ),
)

SENT = frozenset(
    {
        *("model", "prompt", "n", "size", "quality", "background", "moderation", "image"),
        *(
            "mask",
            "output_format",
            "output_compression",
            "stream",
            "partial_images",
            "response_format",
        ),
    }
)
"""Every parameter that a call may have."""

NOT_SENT = frozenset(
    {
        *("complexity", "frame_count", "frame_duration_ms", "input_fidelity", "markup"),
        *("safety_identifier", "style", "svg", "user"),
    }
)
"""Those that the API has besides (`openai` 3.54)."""

WITHHELD = "moderation_stage=output"
"""Stands for the stage that a refusal by moderation may name, in its details."""

ERRORS = (
    ErrorRule(OutputRejected, "made, and withheld by moderation", words=frozenset({WITHHELD})),
    ErrorRule(
        PromptRejected,
        "refused by moderation",
        words=frozenset({"content_policy_violation", "moderation_blocked", "content_filter"}),
    ),
    ErrorRule(
        QuotaExceeded,
        "`insufficient_quota`, `billing_hard_limit_reached`",
        words=frozenset({"insufficient_quota", "billing_hard_limit_reached"}),
    ),
    *HTTP_STATUSES,
    *AROUND_HTTP,
)


def _build(settings: OpenAISettings) -> ImageProvider:
    from shared.imaging.providers.openai_images import OpenAIProvider

    return OpenAIProvider(settings)


def _price(
    settings: OpenAISettings, _model: str, size: str, images: int, *, quality: str | None = None
) -> int | None:
    return price_of(settings.openai_prices, quality or settings.openai_quality, size, images)


def _family(settings: OpenAISettings, model: str) -> str:
    """Return the name of a model without what a vendor or a router puts before it."""
    if settings.openai_model_family and model == settings.openai_model:
        return settings.openai_model_family
    return model.rpartition("/")[2].lower()


PROVIDER = ProviderDeclaration(
    name="openai",
    settings=OpenAISettings,
    offers=OFFERS,
    default_model=lambda settings: settings.openai_model,
    family_of=_family,
    build=_build,
    price=_price,
    units={
        "images": "images made",
        "input_tokens": "tokens read: the prompt, reference pictures",
        "output_tokens": "tokens of the images",
    },
    errors=ERRORS,
    required=("openai_api_key",),
)
