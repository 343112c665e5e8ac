"""API keys in PostgreSQL: made once, found by their hash, revoked."""

import pytest
from sqlalchemy import Engine

from shared.access.api_keys import (
    ApiKeyStore,
    InsufficientScope,
    Unauthorized,
    UnknownKey,
)
from shared.access.scopes import Scope
from shared.errors import InvalidRequest
from tests.support.database import Database

MANY_CHARACTERS = 40


@pytest.fixture
def keys(engine: Engine, database: Database) -> ApiKeyStore:
    """Give the store of keys."""
    return ApiKeyStore(engine)


def test_a_key_belongs_to_its_workspace(keys: ApiKeyStore) -> None:
    """And is found by its text alone."""
    key, text = keys.create("default", "shop front")
    assert keys.find(text).workspace_id == "default"
    assert text.startswith(f"dk_{key.id}_")
    assert key.name == "shop front"


def test_a_key_has_the_scopes_that_it_was_made_with(keys: ApiKeyStore, engine: Engine) -> None:
    """All but `admin` unless it is named; so has a key that was made before there were scopes."""
    own = ["submit", "read", "cancel"]
    key, text = keys.create("default", "all")
    assert key.scopes == keys.find(text).scopes == own
    reader, text = keys.create("default", "some", scopes=[Scope.ADMIN, Scope.READ, Scope.READ])
    assert reader.scopes == ["read", "admin"]
    keys.find(text).check([Scope.READ])
    with pytest.raises(InsufficientScope, match="lacks the scope submit and cancel"):
        keys.find(text).check(own)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO api_keys (id, workspace_id, name, key_sha256)"
            " VALUES ('old', 'default', 'old', repeat('0', 64))"
        )
    assert [found.scopes for found in keys.list() if found.id == "old"] == [own]
    with pytest.raises(InvalidRequest, match="scopes"):
        keys.create("default", "none", scopes=[])


def test_the_text_of_a_key_is_kept_nowhere(keys: ApiKeyStore, engine: Engine) -> None:
    """Only its hash; two keys have nothing in common."""
    texts = {keys.create("default", "shop front")[1] for _ in range(5)}
    assert len(texts) == 5
    with engine.connect() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM api_keys").all())
    # The secret itself may hold underscores: it is what follows the second one.
    secrets = {text.split("_", 2)[2] for text in texts}
    assert all(len(secret) >= MANY_CHARACTERS for secret in secrets)
    assert not any(secret in rows for secret in secrets)


def test_a_revoked_key_is_nobodys(keys: ApiKeyStore) -> None:
    """It stays in the list, with the time of its end; the others go on."""
    key, text = keys.create("default", "one")
    second, other = keys.create("default", "two")
    keys.revoke(key.id)
    with pytest.raises(Unauthorized):
        keys.find(text)
    keys.find(other)
    ids = [key.id, second.id, "deleted"]
    assert keys.find_revoked(ids) == {key.id, "deleted"}
    assert [found.revoked_at is None for found in keys.list("default")][-2:] == [False, True]
    with pytest.raises(UnknownKey):
        keys.revoke(key.id)
    with pytest.raises(UnknownKey):
        keys.revoke("nothing")


@pytest.mark.parametrize("text", ["", "dk_", "dk_0123456789ab_", "x" * 10_000, "dk_\x00", "é"])
def test_what_is_no_key_is_refused(keys: ApiKeyStore, text: str) -> None:
    """Without asking the database for what cannot be there."""
    with pytest.raises(Unauthorized):
        keys.find(text)


def test_a_key_needs_a_workspace(keys: ApiKeyStore) -> None:
    """One that exists, or that is made with it."""
    with pytest.raises(InvalidRequest, match="no workspace 'new-shop'"):
        keys.create("new-shop", "first")
    key, text = keys.create("new-shop", "first", makes_workspace=True)
    assert keys.find(text).workspace_id == "new-shop"
    assert [found.id for found in keys.list("new-shop")] == [key.id]


@pytest.mark.parametrize(("workspace", "name"), [("", "x"), ("a b", "x"), ("a", " "), ("a", "\n")])
def test_names_are_checked(keys: ApiKeyStore, workspace: str, name: str) -> None:
    """Before anything is made of them."""
    with pytest.raises(InvalidRequest):
        keys.create(workspace, name, makes_workspace=True)
