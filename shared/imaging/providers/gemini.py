"""Google's Gemini image models, over REST: what they offer, cost and answer.

Facts: google-genai 3.6.1 (Python SDK), `types.py`, and ai.google.dev, "Image generation"; nothing
was tried against the service. `gemini_images` makes the calls.
"""

from pathlib import Path

from pydantic import Field

from shared.errors import OutputRejected, PromptRejected, ProviderRefusedKey
from shared.imaging.params import AUTO
from shared.imaging.provider import ChargeState, ImageProvider
from shared.imaging.providers.declaration import (
    Offer,
    PriceTable,
    ProviderDeclaration,
    ProviderSettings,
    price_of,
)
from shared.imaging.providers.error_rules import AROUND_HTTP, HTTP_STATUSES, ErrorRule
from shared.setting_types import BaseAddress, HeaderKey

BASE_URL = "https://generativelanguage.googleapis.com/v1beta"


class GeminiSettings(ProviderSettings):
    """What the calls say."""

    gemini_api_key: HeaderKey | None = Field(
        None, description="Key of the Gemini API, if IMAGE_PROVIDER=gemini."
    )
    gemini_api_key_file: Path | None = Field(None, description="File that holds GEMINI_API_KEY.")
    gemini_base_url: BaseAddress = Field(
        BASE_URL, description="Where the Gemini API is, with its version."
    )
    gemini_model: str = Field(
        "gemini-3.1-flash-image", pattern=r"^[A-Za-z0-9._-]{1,255}$", description="Default model."
    )
    gemini_prices: PriceTable = Field(
        {}, description="Micro-dollars of one image, as JSON: by size or `*`."
    )
    gemini_timeout_seconds: float = Field(
        120, gt=0, description="Longest silence of the Gemini API in the middle of a call."
    )


ASPECT_RATIOS = {"1024x1024": "1:1", "1024x1536": "2:3", "1536x1024": "3:2"}
"""What `imageConfig` calls each size; the images have about as many pixels (`imageSize` 1K)."""

# docs.cloud.google.com, "Gemini image generation limitations".
OFFERS = (
    Offer("gemini-2.5-*-image*", (*ASPECT_RATIOS, AUTO), references_max=3),
    Offer("gemini-*-image*", (*ASPECT_RATIOS, AUTO), references_max=14),
)

BLOCKED = ErrorRule(PromptRejected, "`promptFeedback.blockReason`")
WITHHELD = ErrorRule(
    OutputRejected,
    "`finishReason` of safety, recitation or prohibited content",
    ChargeState.UNKNOWN,
)
BAD_KEY = "API_KEY_INVALID"

ERRORS = (
    BLOCKED,
    WITHHELD,
    ErrorRule(ProviderRefusedKey, f"400 `{BAD_KEY}`", words=frozenset({BAD_KEY})),
    *HTTP_STATUSES,
    *AROUND_HTTP,
)


def _build(settings: GeminiSettings) -> ImageProvider:
    from shared.imaging.providers.gemini_images import GeminiProvider

    return GeminiProvider(settings)


PROVIDER = ProviderDeclaration(
    name="gemini",
    settings=GeminiSettings,
    offers=OFFERS,
    default_model=lambda settings: settings.gemini_model,
    build=_build,
    price=lambda settings, _model, size, images: price_of(settings.gemini_prices, "", size, images),
    units={
        "images": "images made",
        "input_tokens": "tokens read: the prompt, reference pictures",
        "output_tokens": "tokens of the images, and of thinking about them",
    },
    errors=ERRORS,
    required=("gemini_api_key",),
)
