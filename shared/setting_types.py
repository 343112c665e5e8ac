"""What the values of settings may look like: addresses, lists, prices. Used by `settings`."""

import json
import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

GATEWAY = "gateway"
"""In TRUSTED_NETWORKS: the default gateway, which the host of a container is."""


def _name_the_driver(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg2"):
        raise ValueError("must begin with postgresql://")
    _check_port(rest)
    # SQLAlchemy 2.1 means psycopg 3 by a bare `postgresql`; this project ships psycopg2.
    return f"postgresql+psycopg2://{rest}"


def _check_redis(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    _check_port(url.partition("://")[2])
    return url


def _check_port(address: str) -> None:
    host = re.split(r"[/?]", address.rpartition("@")[2])[0]
    port = host.rpartition("]")[2].partition(":")[2]
    if port and not port.isdecimal():
        raise ValueError("must have a number for its port")


def _check_base(url: str) -> str:
    if re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url) is None:
        raise ValueError("must be an address such as https://images.example.com")
    return url.rstrip("/")


def _split_names(names: object) -> object:
    if not isinstance(names, str):
        return names
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _read_prices(prices: object) -> object:
    if not isinstance(prices, str):
        return prices
    try:
        read = json.loads(prices or "{}")
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise ValueError('must be a JSON object such as {"*": 40000}')  # noqa: TRY004 - as above
    return read


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(origin.rstrip("/") for origin in origins)
    for origin in names:
        if re.fullmatch(r"https?://[^\s/?#*]+", origin) is None:
            raise ValueError("must list origins such as https://shop.example.com")
    return names


def _check_networks(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name != GATEWAY and ip_network(name).prefixlen == 0:
            raise ValueError("must not hold every address: use API keys (REQUIRE_API_KEYS)")
    return names


DatabaseUrl = Annotated[
    str,
    AfterValidator(_name_the_driver),
    Field(
        repr=False,
        description="PostgreSQL, as `postgresql://user:password@host/name`. Required.",
    ),
]
RedisUrl = Annotated[str, AfterValidator(_check_redis)]
BaseAddress = Annotated[str, AfterValidator(_check_base)]

_Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)]

Prices = Annotated[dict[str, Annotated[int, Field(ge=0)]], NoDecode, BeforeValidator(_read_prices)]
SecretArns = _Names
Origins = Annotated[_Names, AfterValidator(_check_origins)]
Networks = Annotated[_Names, AfterValidator(_check_networks)]
