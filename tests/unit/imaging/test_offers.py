"""What a model offers, and what an image of it costs."""

from fnmatch import fnmatch
from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import InvalidRequest
from shared.imaging.params import ImageOptions
from shared.imaging.providers import flux, gemini
from shared.imaging.providers.declaration import Offer, price_of
from shared.imaging.providers.openai import OFFERS, PROVIDER, OpenAISettings


def order_of(**fields: Any) -> ImageOptions:
    """Return an order."""
    return ImageOptions(prompt="a mug", **fields)


def offer_of(model: str, **settings: Any) -> Offer:
    """Return what a model of OpenAI's offers."""
    return PROVIDER.offer(OpenAISettings(openai_model=model, **settings))


@pytest.mark.parametrize(
    ("model", "size", "n"),
    [
        ("gpt-image-2.5-flare", "1536x1024", 10),
        ("chatgpt-image-latest", "1024x1024", 1),
        ("dall-e-2", "256x256", 10),
        ("dall-e-3", "1024x1024", 1),
        ("a-model-of-another-vendor", "512x512", 10),
    ],
)
def test_what_a_model_offers_passes(model: str, size: str, n: int) -> None:
    """An unknown model offers everything."""
    offer_of(model).check(order_of(size=size, n=n))


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("openai/gpt-image-2.5-flare", {}),
        ("azure/eu/GPT-Image-2", {}),
        ("our-deployment", {"openai_model_family": "gpt-image-2"}),
    ],
)
def test_the_family_is_found_behind_the_name_of_a_vendor_or_a_deployment(
    model: str, settings: dict[str, Any]
) -> None:
    """The model keeps its own name for the server, the ledger and messages."""
    offer = offer_of(model, **settings)
    assert (offer.model, offer.previews_max, "256x256" in offer.sizes) == (model, 3, False)
    with pytest.raises(InvalidRequest, match=f"size: {model} offers"):
        offer.check(order_of(size="256x256"))


def test_what_every_request_needs_cannot_be_left_out() -> None:
    """One line names it."""
    assert OpenAISettings(openai_omit="size, n").openai_omit == ("size", "n")
    with pytest.raises(ValidationError, match="must not hold prompt"):
        OpenAISettings(openai_omit="size,prompt")


THREE = "1024x1024, 1024x1536, 1536x1024, auto"
FREE = "multiples of 16 up to 3840, 1:3, 655360 to 8294400 pixels"


@pytest.mark.parametrize(
    ("model", "asked", "line"),
    [
        ("gpt-image-1.5", {"size": "256x256"}, f"size: gpt-image-1.5 offers {THREE}, not 256x256"),
        ("gpt-image-2", {"size": "1000x1000"}, f"offers {THREE}, {FREE}, not 1000x1000"),
        ("gpt-image-2", {"size": "3840x1264"}, FREE),
        ("gpt-image-2", {"size": "3840x2176"}, FREE),
        ("gpt-image-2", {"size": "800x800"}, FREE),
        ("dall-e-2", {"size": "auto"}, "dall-e-2 offers 256x256, 512x512, 1024x1024, not auto"),
        ("dall-e-3", {"n": 2}, "n: dall-e-3 makes at most 1 images a job"),
        ("gpt-image-2", {"quality": "max"}, "gpt-image-2 offers low, medium, high, not max"),
        ("gpt-image-2", {"quality": "hd"}, "quality: gpt-image-2 offers low"),
        ("dall-e-3", {"background": "transparent"}, "background: dall-e-3 offers no choice"),
        ("dall-e-3", {"moderation": "low"}, "moderation: dall-e-3 offers no choice"),
        (
            "gpt-image-2",
            {"background": "transparent", "output_format": "jpeg"},
            "background: a JPEG is never transparent; ask for png or webp",
        ),
        ("gpt-image-2", {"output_compression": 50}, "output_compression: needs output_format jpeg"),
        (
            "dall-e-3",
            {"output_compression": 50, "output_format": "jpeg"},
            "output_format: dall-e-3 offers no choice",
        ),
    ],
)
def test_what_a_model_does_not_offer_is_refused(
    model: str, asked: dict[str, Any], line: str
) -> None:
    """In one line, which begins with the field and says what the model offers."""
    with pytest.raises(InvalidRequest) as raised:
        offer_of(model).check(order_of(**asked))
    assert line in str(raised.value)


def test_a_model_without_references_refuses_them() -> None:
    """Before anything is sent."""
    line = "source_asset_id: dall-e-2 takes no reference pictures"
    with pytest.raises(InvalidRequest, match=line):
        offer_of("dall-e-2").check(order_of(), 1)


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gpt-image-2.5-flare", 16),
        ("vendor/anything", 16),
        ("gemini-3.1-flash-image", 14),
        ("gemini-2.5-flash-image", 3),
        ("flux-2-pro", 8),
        ("flux-2-klein-9b", 4),
        ("flux-pro-1.1", 1),
    ],
)
def test_a_model_takes_so_many_references(model: str, most: int) -> None:
    """One more is refused; so is a mask where it takes none, or without a picture."""
    offer = next(
        offer for offer in (*flux.OFFERS, *gemini.OFFERS, *OFFERS) if fnmatch(model, offer.model)
    )
    offer.check(order_of(), most)
    with pytest.raises(InvalidRequest, match=f"at most {most} reference pictures, not {most + 1}"):
        offer.check(order_of(), most + 1)
    with pytest.raises(InvalidRequest, match=r"^mask_asset_id: (.* takes no mask|needs a picture)"):
        offer.check(order_of(), 1 - offer.takes_mask, has_mask=True)


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gpt-image-2", {"size": "1536x864"}),
        ("gpt-image-2.5-flare", {"size": "3840x2160", "quality": "max"}),
        ("gpt-image-1.5", {"size": "auto", "background": "transparent"}),
        ("chatgpt-image-latest", {"output_format": "webp", "output_compression": 0}),
        ("dall-e-3", {"size": "1792x1024", "quality": "hd"}),
        ("dall-e-3", {"quality": "auto", "background": "auto", "moderation": "auto"}),
        ("of-another-server", {"size": "333x777", "quality": "ultra", "background": "opaque"}),
    ],
)
def test_what_only_some_models_offer_passes(model: str, asked: dict[str, Any]) -> None:
    """`auto` stands for no choice, and so passes everywhere."""
    offer_of(model).check(order_of(**asked))


def test_the_quality_of_a_request_has_its_own_price() -> None:
    """Without one, that of the settings counts."""
    prices = {"high 1024x1024": 9, "low": 1, "*": 5}
    offer = offer_of("gpt-image-2", openai_prices=prices, openai_quality="low")
    assert [offer.priced(quality)("1024x1024", 2) for quality in (None, "auto", "high")] == [
        *(2, 2),
        18,
    ]
    with pytest.raises(InvalidRequest, match="max_cost: 1 images cost 9 micro-dollars, not 8"):
        offer.quote(order_of(quality="high", max_cost=8))


@pytest.mark.parametrize(
    ("most", "line"),
    [
        (79_999, "max_cost: 2 images cost 80000 micro-dollars, not 79999"),
        (80_000, None),
        (None, None),
    ],
)
def test_what_would_cost_too_much_is_refused(most: int | None, line: str | None) -> None:
    """Before anything is called."""
    offer = offer_of("gpt-image-2", openai_prices={"1024x1024": 40_000})
    if line is None:
        offer.quote(order_of(n=2, max_cost=most))
    else:
        with pytest.raises(InvalidRequest, match=line):
            offer.quote(order_of(n=2, max_cost=most))


def test_a_request_with_a_cost_limit_is_refused_if_its_price_is_unknown() -> None:
    """A limit that cannot be kept is not accepted."""
    with pytest.raises(InvalidRequest, match="the price of gpt-image-2 at 1024x1024 is not known"):
        offer_of("gpt-image-2").quote(order_of(max_cost=10**9))


def test_the_closest_price_counts() -> None:
    """Quality and size before size, size before quality, and the rest last."""
    table = {"high 1024x1024": 9, "1024x1024": 5, "high": 3, "*": 1}
    assert price_of(table, "high", "1024x1024", 2) == 18
    assert price_of(table, "low", "1024x1024", 2) == 10
    assert price_of(table, "high", "1536x1024", 1) == 3
    assert price_of(table, "low", "1536x1024", 1) == 1
    assert price_of({"512x512": 5}, "low", "1024x1024", 1) is None
