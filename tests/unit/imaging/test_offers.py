"""What a model offers, and what a picture of it costs."""

import pytest

from shared.errors import InvalidRequest
from shared.imaging.offers import offer_of
from shared.imaging.prices import PriceTable


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
    ("model", "size", "n", "line"),
    [
        (
            "gpt-image-2.5-flare",
            "256x256",
            1,
            "size: gpt-image-2.5-flare offers 1024x1024, 1024x1536, 1536x1024, not 256x256",
        ),
        ("dall-e-3", "1024x1024", 2, "n: dall-e-3 makes at most 1 images a job"),
    ],
)
def test_what_it_does_not_offer_is_refused_with_what_it_does(
    model: str, size: str, n: int, line: str
) -> None:
    """In one line, which begins with the field."""
    with pytest.raises(InvalidRequest) as raised:
        offer_of(model).check(size, n)
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
    offer = offer_of("gpt-image-2", prices=PriceTable({"1024x1024": 40_000}))
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
    table = PriceTable({"high 1024x1024": 9, "1024x1024": 5, "high": 3, "*": 1})
    assert table.of("high", "1024x1024", 2) == 18
    assert table.of("low", "1024x1024", 2) == 10
    assert table.of("high", "1536x1024", 1) == 3
    assert table.of("low", "1536x1024", 1) == 1
    assert PriceTable({"512x512": 5}).of("low", "1024x1024", 1) is None
