"""What a model offers, and what an image of it costs."""

from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.imaging.offers import Offer, price_of
from shared.imaging.providers.openai import PROVIDER, OpenAISettings


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
    offer_of(model).check(size, n)


@pytest.mark.parametrize(
    ("model", "asked", "line"),
    [
        (
            "gpt-image-2.5-flare",
            {"size": "256x256", "n": 1},
            "size: gpt-image-2.5-flare offers 1024x1024, 1024x1536, 1536x1024, not 256x256",
        ),
        (
            "dall-e-3",
            {"size": "1024x1024", "n": 2},
            "n: dall-e-3 makes at most 1 images a job",
        ),
        (
            "dall-e-2",
            {"size": "1024x1024", "n": 1, "has_reference": True},
            "source_asset_id: dall-e-2 takes no reference pictures",
        ),
    ],
)
def test_what_a_model_does_not_offer_is_refused(
    model: str, asked: dict[str, Any], line: str
) -> None:
    """In one line, which begins with the field and says what the model offers."""
    with pytest.raises(InvalidRequest) as raised:
        offer_of(model).check(**asked)
    assert str(raised.value) == line


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
        offer.check("1024x1024", 2, most)
    else:
        with pytest.raises(InvalidRequest, match=line):
            offer.check("1024x1024", 2, most)


def test_a_request_with_a_cost_limit_is_refused_if_its_price_is_unknown() -> None:
    """A limit that cannot be kept is not accepted."""
    with pytest.raises(InvalidRequest, match="the price of gpt-image-2 at 1024x1024 is not known"):
        offer_of("gpt-image-2").check("1024x1024", 1, 10**9)


def test_the_closest_price_counts() -> None:
    """Quality and size before size, size before quality, and the rest last."""
    table = {"high 1024x1024": 9, "1024x1024": 5, "high": 3, "*": 1}
    assert price_of(table, "high", "1024x1024", 2) == 18
    assert price_of(table, "low", "1024x1024", 2) == 10
    assert price_of(table, "high", "1536x1024", 1) == 3
    assert price_of(table, "low", "1536x1024", 1) == 1
    assert price_of({"512x512": 5}, "low", "1024x1024", 1) is None
