"""The OpenAI Images API, and every server that speaks it: what it offers, costs and answers.

Facts on models: `openai` 3.54 (Python SDK), `types/image_generate_params.py` and
`types/image_model.py`. `openai_images` makes the calls.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from shared.errors import OutputRejected, PromptRejected, QuotaExceeded
from shared.imaging.offers import Offer, PriceTable, price_of
from shared.imaging.provider import ImageProvider
from shared.imaging.providers.declaration import ProviderDeclaration, ProviderSettings
from shared.imaging.providers.error_rules import AROUND_HTTP, HTTP_STATUSES, ErrorRule
from shared.setting_types import BaseAddress


class OpenAISettings(ProviderSettings):
    """What the calls say."""

    openai_api_key: SecretStr | None = Field(
        None, description="Key of the image API. Workers need it when AI_MOCK_MODE=false."
    )
    openai_api_key_file: Path | None = Field(None, description="File that holds OPENAI_API_KEY.")
    openai_base_url: BaseAddress | None = Field(
        None, description="Another server that speaks the OpenAI Images API, as `https://host/v1`."
    )
    openai_model: str = Field("gpt-image-2.5-flare", max_length=255, description="Default model.")
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


_GPT_IMAGE_SIZES = ("1024x1024", "1024x1536", "1536x1024")

OFFERS = (
    Offer("gpt-image-*", _GPT_IMAGE_SIZES, previews_max=3),
    Offer("chatgpt-image-*", _GPT_IMAGE_SIZES, previews_max=3),
    Offer("dall-e-2", ("256x256", "512x512", "1024x1024"), takes_reference=False),
    Offer("dall-e-3", ("1024x1024",), images_max=1, takes_reference=False),
    # A model of another server: nothing is known of it.
    Offer("*"),
)

WITHHELD = "moderation_stage=output"
"""Stands for the stage that a refusal by moderation may name, in its details."""

ERRORS = (
    ErrorRule(OutputRejected, "made, and withheld by moderation", words=frozenset({WITHHELD})),
    ErrorRule(
        PromptRejected,
        "refused by moderation",
        words=frozenset({"content_policy_violation", "moderation_blocked"}),
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


def _price(settings: OpenAISettings, _model: str, size: str, images: int) -> int | None:
    return price_of(settings.openai_prices, settings.openai_quality, size, images)


PROVIDER = ProviderDeclaration(
    name="openai",
    settings=OpenAISettings,
    offers=OFFERS,
    default_model=lambda settings: settings.openai_model,
    build=_build,
    price=_price,
    units={
        "images": "images made",
        "input_tokens": "tokens read: the prompt, a reference picture",
        "output_tokens": "tokens of the images",
    },
    errors=ERRORS,
    required=("openai_api_key",),
)
