"""Price tables: what one image costs, as the operator writes it down in a setting."""

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode


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
"""Micro-dollars of one image by `quality size`, by size, by quality, or by `*` for all others."""


def price_of(table: Mapping[str, int], quality: str, size: str, images: int) -> int | None:
    """Return the price of some images in micro-dollars; None if the table has no entry."""
    for name in (f"{quality} {size}", size, quality, "*"):
        if name in table:
            return table[name] * images
    return None
