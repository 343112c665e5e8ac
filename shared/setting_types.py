"""What the values of settings may look like: addresses, lists. Used where settings are declared."""

import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode, SettingsConfigDict

STRICT = SettingsConfigDict(
    # docker-compose.yml and template.yaml cannot always leave a variable out.
    env_ignore_empty=True,
    frozen=True,
    extra="ignore",
    hide_input_in_errors=True,
    allow_inf_nan=False,
    # Parts of `Settings` are never validated alone: only the whole is built, at its first use.
    defer_build=True,
)
"""How all settings are read."""

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


DatabaseUrl = Annotated[str, AfterValidator(_name_the_driver)]
RedisUrl = Annotated[str, AfterValidator(_check_redis)]

BaseAddress = Annotated[str, AfterValidator(_check_base)]

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)]
Origins = Annotated[Names, AfterValidator(_check_origins)]
Networks = Annotated[Names, AfterValidator(_check_networks)]
