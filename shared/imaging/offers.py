"""What a model can be asked for, and what that costs: checked before a job is accepted."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from shared.errors import InvalidRequest
from shared.imaging.params import IMAGES_MAX, SIZE_NAMES

PriceOf = Callable[[str, int], int | None]
"""The price of some images of one size, in micro-dollars; None where it is not known."""


def unknown_price(_size: str, _images: int) -> int | None:
    """Know no price."""
    return None


@dataclass(frozen=True, slots=True)
class Offer:
    """What one model, or a family of models, offers.

    Attributes:
        model: The name of the model; a provider declares families such as `gpt-image-*`.
        images_max: How many images one call makes.
        previews_max: How many previews of an image the model shows; 0 means none.
    """

    model: str
    sizes: Sequence[str] = SIZE_NAMES
    images_max: int = IMAGES_MAX
    previews_max: int = 0
    takes_reference: bool = True
    price_of: PriceOf = unknown_price

    def check(
        self,
        size: str,
        n: int,
        max_cost_microdollars: int | None = None,
        *,
        has_reference: bool = False,
    ) -> None:
        """Let a request pass that the model can serve at that cost.

        Raises:
            InvalidRequest: The message says what the model offers, or what the images cost.
        """
        if size not in self.sizes:
            raise InvalidRequest(f"size: {self.model} offers {', '.join(self.sizes)}, not {size}")
        if n > self.images_max:
            raise InvalidRequest(f"n: {self.model} makes at most {self.images_max} images a job")
        if has_reference and not self.takes_reference:
            raise InvalidRequest(f"source_asset_id: {self.model} takes no reference pictures")
        if max_cost_microdollars is not None:
            self._check_cost(size, n, max_cost_microdollars)

    def _check_cost(self, size: str, n: int, most: int) -> None:
        price = self.price_of(size, n)
        if price is None:
            raise InvalidRequest(f"max_cost: the price of {self.model} at {size} is not known here")
        if price > most:
            raise InvalidRequest(f"max_cost: {n} images cost {price} micro-dollars, not {most}")


def _read_table(table: object) -> object:
    if not isinstance(table, str):
        return table
    try:
        read = json.loads(table or "{}")
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise ValueError('must be a JSON object such as {"*": 40000}')  # noqa: TRY004 - for pydantic
    return read


PriceTable = Annotated[
    dict[str, Annotated[int, Field(ge=0)]], NoDecode, BeforeValidator(_read_table)
]
"""A setting: micro-dollars of one image by `quality size`, size, quality, or `*` for all others."""


def price_of(table: Mapping[str, int], quality: str, size: str, images: int) -> int | None:
    """Return the price of some images in micro-dollars; None if the table has no entry."""
    for name in (f"{quality} {size}", size, quality, "*"):
        if name in table:
            return table[name] * images
    return None
