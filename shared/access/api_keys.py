"""API keys: each belongs to one workspace, is shown once, and is kept as a hash.

Its scopes say what it may be used for. A route of the API names the scopes that it needs.
"""

import re
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, exc

from shared.access.scopes import OWN_SCOPES, Scope
from shared.database.statements import Statements
from shared.errors import DarkroomError, InvalidRequest

_ID_BYTES = 6
_SECRET_BYTES = 32
KEY_PREFIX = "dk_"

_KEY = re.compile(KEY_PREFIX + r"[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
_WORKSPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NAME_MAX_CHARS = 255


class Unauthorized(DarkroomError):
    """A request has no valid API key, where one is needed."""

    code = "unauthorized"


class InsufficientScope(DarkroomError):
    """The API key is valid, and may not be used for this."""

    code = "insufficient_scope"

    def __init__(self, missing: Collection[str]) -> None:
        super().__init__(f"this API key lacks the scope {' and '.join(missing)}")


class UnknownKey(DarkroomError):
    """A key to revoke does not exist, or was revoked before."""

    code = "unknown_key"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no API key {key_id[:64]!r} that could be revoked")


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key without its text, which only its owner has."""

    id: str
    workspace_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Return the key as JSON shows it."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid key gives to the sender of a request."""

    key_id: str
    name: str
    workspace_id: str
    scopes: Collection[str]

    def check(self, wanted: Collection[str]) -> None:
        """Check that the key may be used for all of this.

        Raises:
            InsufficientScope: It may not.
        """
        if missing := [scope for scope in wanted if scope not in self.scopes]:
            raise InsufficientScope(missing)


class ApiKeyStore:
    """Creates, finds and revokes keys.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    def create(
        self,
        workspace_id: str,
        name: str,
        *,
        makes_workspace: bool = False,
        scopes: Collection[Scope] = OWN_SCOPES,
    ) -> tuple[IssuedKey, str]:
        """Create a key and return it with its text, which is not stored.

        Raises:
            InvalidRequest: The workspace does not exist, a name is not allowed, or no scope is
                given.
        """
        if not scopes:
            raise InvalidRequest("scopes: must name at least one")
        _check_names(workspace_id, name)
        key_id = secrets.token_hex(_ID_BYTES)
        text = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        parameters = {
            "id": key_id,
            "workspace_id": workspace_id,
            "name": name,
            "key_sha256": _hash(text),
            "scopes": [scope.value for scope in Scope if scope in scopes],
        }
        if makes_workspace:
            self._run("make_workspace", parameters)
        try:
            [row] = self._run("insert_key", parameters)
        except exc.IntegrityError as error:
            raise InvalidRequest(f"workspace: no workspace {workspace_id!r}") from error
        return _key_of(row), text

    def list(self, workspace_id: str | None = None) -> list[IssuedKey]:
        """Return all keys, or those of a workspace, oldest first; with the revoked ones."""
        rows = self._run("list_keys", {"workspace_id": workspace_id})
        return [_key_of(row) for row in rows]

    def revoke(self, key_id: str) -> None:
        """Revoke a key, from the next request on.

        Raises:
            UnknownKey: It does not exist, or was revoked before.
        """
        if not self._run("revoke_key", {"id": key_id}):
            raise UnknownKey(key_id)

    def find_revoked(self, key_ids: Collection[str]) -> set[str]:
        """Return those of some keys that are not valid any more."""
        return {row.id for row in self._run("find_revoked", {"ids": list(key_ids)})}

    def find(self, text: str) -> Grant:
        """Return what the key with this text gives.

        Raises:
            Unauthorized: It is no key, or was revoked.
        """
        # Searched by its hash: how long that takes says nothing about any key.
        rows = self._run("find_key", {"key_sha256": _hash(text)}) if _KEY.fullmatch(text) else ()
        if not rows:
            raise Unauthorized("this API key is not valid")
        return Grant(*rows[0])


def _check_names(workspace_id: str, name: str) -> None:
    if _WORKSPACE.fullmatch(workspace_id) is None:
        raise InvalidRequest("workspace: must be 1 to 64 letters, digits, dots, - or _")
    if not name.strip() or len(name) > NAME_MAX_CHARS or not name.isprintable():
        raise InvalidRequest(f"name: must be 1 to {NAME_MAX_CHARS} printable characters")


def _hash(text: str) -> str:
    # 256 random bits need no slow hash.
    return sha256(text.encode()).hexdigest()


def _key_of(row: Any) -> IssuedKey:
    return IssuedKey(**row._mapping)
