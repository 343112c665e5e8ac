"""Black Forest Labs' FLUX models: what they offer, cost and answer.

Facts: github.com/black-forest-labs/skills, `skills/bfl-api` (SKILL.md, references/endpoints.md),
and docs.bfl.ai, "Get Result"; nothing was tried against the service. `flux_images` makes the calls.
"""

from pathlib import Path

from pydantic import Field

from shared.errors import OutputRejected, PromptRejected, ProviderUnavailable
from shared.imaging.provider import ImageProvider
from shared.imaging.providers.declaration import (
    Offer,
    PriceTable,
    ProviderDeclaration,
    ProviderSettings,
    price_of,
)
from shared.imaging.providers.error_rules import AROUND_HTTP, HTTP_STATUSES, ErrorRule
from shared.setting_types import BaseAddress, HeaderKey

BASE_URL = "https://api.bfl.ai/v1"


class FluxSettings(ProviderSettings):
    """What the calls say."""

    flux_api_key: HeaderKey | None = Field(
        None, description="Key of Black Forest Labs' API, if IMAGE_PROVIDER=flux."
    )
    flux_api_key_file: Path | None = Field(None, description="File that holds FLUX_API_KEY.")
    flux_base_url: BaseAddress = Field(
        BASE_URL,
        description="Where the FLUX API is, with its version; `https://api.eu.bfl.ai/v1` stays in "
        "the EU.",
    )
    flux_model: str = Field(
        "flux-2-pro", pattern=r"^[A-Za-z0-9._-]{1,255}$", description="Default model."
    )
    flux_prices: PriceTable = Field(
        {},
        description="Micro-dollars of one image, as JSON: by `model size`, size, model or `*`. "
        "What an answer says of its cost wins.",
    )
    flux_timeout_seconds: float = Field(
        120, gt=0, description="Longest silence of the FLUX API, in a call or while it is asked."
    )
    flux_poll_seconds: float = Field(
        1, gt=0, description="First wait before the FLUX API is asked for an image; it grows."
    )


SIZES = ("256x256", "512x512", "1024x1024", "1024x1536", "1536x1024")
"""All of ours: both sides are multiples of 16, of 64 pixels and 4 megapixels at most."""

OFFERS = (
    Offer("flux-2-klein-*", SIZES, references_max=4),  # docs.freepik.com, "FLUX.2 [klein]"
    Offer("flux-2-*", SIZES, references_max=8),
    Offer("flux-*", SIZES),
)

REFUSED = ErrorRule(PromptRejected, "`Request Moderated`", words=frozenset({"Request Moderated"}))
WITHHELD = ErrorRule(OutputRejected, "`Content Moderated`", words=frozenset({"Content Moderated"}))
FAILED = ErrorRule(
    ProviderUnavailable,
    "`Error`, `Failed`, `Task not found`",
    words=frozenset({"Error", "Failed", "Task not found"}),
)

ENDS = (REFUSED, WITHHELD, FAILED)
"""The statuses that an image ends with but `Ready`, which alone costs credits (help.bfl.ai,
"My prompt is getting moderated")."""

ERRORS = (*ENDS, *HTTP_STATUSES, *AROUND_HTTP)


def _build(settings: FluxSettings) -> ImageProvider:
    from shared.imaging.providers.flux_images import FluxProvider

    return FluxProvider(settings)


PROVIDER = ProviderDeclaration(
    name="flux",
    settings=FluxSettings,
    offers=OFFERS,
    default_model=lambda settings: settings.flux_model,
    build=_build,
    price=lambda settings, model, size, images: price_of(settings.flux_prices, model, size, images),
    units={"images": "images made"},
    errors=ERRORS,
    required=("flux_api_key",),
    makes_later=True,
)
