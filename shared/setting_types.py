"""What the values of settings may look like: addresses, lists. Used where settings are declared."""

import json
import re
from ipaddress import ip_network
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, SecretStr
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.rds_certificates import verify_rds
from shared.redaction import AROUND_SECRETS

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

SIGNING_KEY_LEAST_BYTES = 32
"""As many as HMAC-SHA-256 puts out [RFC 2104, "Keys": less would weaken it]."""

GATEWAY = "gateway"
"""In TRUSTED_NETWORKS: the default gateway, which the host of a container is."""


_POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg")

_TLS_CHECKS = ("none", "optional", "required")

_REDIS_KEPT = ("db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")

_REDIS_OWN = frozenset(
    {
        *("socket_timeout", "socket_connect_timeout", "timeout", "socket_keepalive"),
        *("retry_on_timeout", "retry_on_error", "max_connections", "health_check_interval"),
        *("protocol", "decode_responses", "encoding", "client_name"),
    }
)
"""Options of redis-py that are accepted and left out: each client here has its own."""


def _name_the_driver(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _POSTGRES_SCHEMES:
        raise ValueError("must begin with postgresql://")
    _check_user(rest, reserved="@/#")
    _check_port(rest)
    # SQLAlchemy 2.1 means psycopg 3 by a bare `postgresql`; this project ships psycopg2.
    return verify_rds(f"postgresql+psycopg2://{rest}")


def _read_redis(url: str) -> str:
    """Return the address with the options that redis-py, kombu and Celery read in the same way."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    _check_user(rest, reserved="@/?#")
    _check_port(rest)
    address, mark, query = rest.partition("?")
    if not mark:
        return url
    options = _redis_options(dict(parse_qsl(query)), is_encrypted=scheme == "rediss")
    if scheme != "unix" and "db" in options:
        # kombu and Celery look for the database in the path alone.
        address = f"{address.partition('/')[0]}/{options.pop('db')}"
    written = urlencode(options, safe="/")
    return f"{scheme}://{address}?{written}" if written else f"{scheme}://{address}"


def _redis_options(given: dict[str, str], *, is_encrypted: bool) -> dict[str, str]:
    options = {name: value for name, value in given.items() if name not in _REDIS_OWN}
    if "virtual_host" in options:
        options["db"] = options.pop("virtual_host")
    if not options.get("db", "0").isdecimal():
        raise ValueError("must have a number for its db")
    check = options.pop("ssl_cert_reqs", None)
    if unknown := sorted({*options} - {*_REDIS_KEPT}):
        raise ValueError(f"has an option that is not known: {unknown[0][:32]}")
    if check is not None:
        options["ssl_cert_reqs"] = check.lower().removeprefix("cert_")
        if options["ssl_cert_reqs"] not in _TLS_CHECKS:
            raise ValueError("must have none, optional or required as ssl_cert_reqs")
    if not is_encrypted and any(name.startswith("ssl_") for name in options):
        raise ValueError("must begin with rediss:// where it has options of TLS")
    return options


def _check_signing_key(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value().encode()) < SIGNING_KEY_LEAST_BYTES:
        raise ValueError(f"must have at least {SIGNING_KEY_LEAST_BYTES} bytes")
    return key


def _clean_header_key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value().strip(AROUND_SECRETS)
    if re.fullmatch(r"[!-~]*", text) is None:
        raise ValueError("must be one word of printable ASCII characters: copy it anew")
    return SecretStr(text)


def _check_user(address: str, reserved: str = "@") -> None:
    """Refuse a user or a password that drivers would cut, and then show a half of as a host.

    Args:
        address: What follows `://`.
        reserved: What must be written in percent.
    """
    before, mark, _ = address.rpartition("@")
    # The value of a parameter may hold the sign.
    is_in_query = re.search(r"\?[\w.-]+=[^@]*$", before) is not None
    is_path = before.startswith("/")
    if mark and not is_in_query and not is_path and any(sign in before for sign in reserved):
        written = ", ".join(f"{sign} as {quote(sign, safe='')}" for sign in reserved)
        raise ValueError(f"must write {written} in its user and password")


def _check_port(address: str) -> None:
    host = re.split(r"[/?]", address.rpartition("@")[2])[0]
    port = host.rpartition("]")[2].partition(":")[2]
    if port and not port.isdecimal():
        raise ValueError("must have a number for its port")


def _check_base(url: str) -> str:
    if re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url) is None:
        raise ValueError("must be an address such as https://images.example.com")
    return url.rstrip("/")


def _check_public(url: str) -> str:
    if urlsplit(url).path.startswith("/v1"):
        raise ValueError("must not have a path that begins with /v1, as those of the API do")
    return url


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


def _check_schema(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w$-]{0,62}", name, re.ASCII) is None:
        raise ValueError("must be the name of a schema: letters, digits, _, - or $")
    return name


def _check_redis_prefix(prefix: str) -> str:
    # Celery puts an underscore behind any other prefix (celery/backends/base.py,
    # `_add_global_keyprefix`), and kombu does not.
    if re.fullmatch(r"([\w.:-]{0,63}[.:_-])?", prefix, re.ASCII) is None:
        raise ValueError("must be letters and digits that end with : . _ or -, as shop:")
    return prefix


def _check_queue_prefix(prefix: str) -> str:
    if re.fullmatch(r"[\w.:-]{0,64}", prefix, re.ASCII) is None:
        raise ValueError("must be letters, digits, : . _ or -")
    return prefix


DatabaseUrl = Annotated[str, AfterValidator(_name_the_driver)]
RedisUrl = Annotated[str, AfterValidator(_read_redis)]
SchemaName = Annotated[str, AfterValidator(_check_schema)]
RedisPrefix = Annotated[str, AfterValidator(_check_redis_prefix)]
QueuePrefix = Annotated[str, AfterValidator(_check_queue_prefix)]

BaseAddress = Annotated[str, AfterValidator(_check_base)]
PublicAddress = Annotated[BaseAddress, AfterValidator(_check_public)]

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)]
HeaderKey = Annotated[SecretStr, AfterValidator(_clean_header_key)]
"""A key that is sent in a header: one word."""

Seconds = Annotated[tuple[PositiveFloat, ...], NoDecode, BeforeValidator(_split_names)]
SigningKey = Annotated[SecretStr, AfterValidator(_check_signing_key)]
Origins = Annotated[Names, AfterValidator(_check_origins)]
Networks = Annotated[Names, AfterValidator(_check_networks)]


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


NumberTable = Annotated[
    dict[str, Annotated[int, Field(ge=0)]], NoDecode, BeforeValidator(_read_table)
]
"""A setting: numbers by names, as JSON."""
