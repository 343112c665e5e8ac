"""Secrets in files, and the password that belongs in the address of a database.

`shared.settings` calls it before it checks the values.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote


def take_secrets(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the values with each secret that a file holds in its place.

    The file that `{name}_file` names holds the value of `{name}`; an empty one holds none.

    Args:
        given: Raw values by the names of their settings.
        names: The names of all settings.

    Raises:
        ValueError: A secret is given twice, or its file cannot be read; never shows a secret.
    """
    values = dict(given)
    for name in names:
        path = values.get(f"{name}_file")
        secret = _read(f"{name}_file".upper(), Path(path)) if path else ""
        if secret and values.get(name):
            raise ValueError(
                f"{name.upper()} and {name.upper()}_FILE are both set: leave one of them empty, "
                f"as {name.upper()}="
            )
        if secret:
            values[name] = secret
    return values


def _read(variable: str, path: Path) -> str:
    try:
        return path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ValueError(f"{variable} names {path}, which cannot be read: {reason}") from error


def with_password(url: str, password: str) -> str:
    """Return the address of a database with its user's password in it.

    Raises:
        ValueError: The address names no user, or has a password already; never shows one.
    """
    found = re.fullmatch(r"([^/?#]*://)([^/?#]*)@(.*)", url)
    if found is None:
        raise ValueError(
            "DATABASE_PASSWORD needs a DATABASE_URL with a user, as postgresql://user@host/name"
        )
    scheme, user, rest = found.groups()
    if ":" in user:
        raise ValueError(
            "DATABASE_PASSWORD is set, and DATABASE_URL holds a password, too: leave one of them "
            "out, as postgresql://user@host/name"
        )
    return f"{scheme}{user}:{quote(password, safe='')}@{rest}"


def has_password(url: str) -> bool:
    """Return whether an address holds a password, well formed or not."""
    return re.match(r"[^/?#]*://[^/?#@]*:[^/?#]*@", url) is not None
