"""`darkroom keys`: the API keys of DATABASE_URL, made, listed and revoked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import typer

from shared.access.api_keys import ApiKeyStore
from shared.database.session import create_unpooled_engine, refusals_named
from shared.settings import load_database_url

_TABLE = "{:<12}  {:<16}  {:<19}  {:<19}  {}"


def run_create(workspace_id: str, name: str, *, makes_workspace: bool, is_json: bool) -> None:
    """Make a key and print it. It cannot be shown again.

    Raises:
        InvalidRequest: There is no such workspace, or a name is not allowed.
    """
    with _store() as store:
        key, text = store.create(workspace_id, name, makes_workspace=makes_workspace)
    if is_json:
        typer.echo(json.dumps({**key.as_dict(), "key": text}))
        return
    typer.echo(text)
    typer.echo(f"key {key.id} of workspace {key.workspace_id}; it is shown only now", err=True)


def run_list(workspace_id: str | None, *, is_json: bool) -> None:
    """Print the keys, oldest first, revoked ones too."""
    with _store() as store:
        keys = store.list(workspace_id)
    if is_json:
        typer.echo(json.dumps({"items": [key.as_dict() for key in keys]}))
        return
    typer.echo(_TABLE.format("ID", "WORKSPACE", "CREATED", "REVOKED", "NAME"))
    for key in keys:
        moments = _moment(key.created_at), _moment(key.revoked_at)
        typer.echo(_TABLE.format(key.id, key.workspace_id, *moments, key.name))


def run_revoke(key_id: str, *, is_json: bool) -> None:
    """Make a key worthless.

    Raises:
        UnknownKey: There is none, or it was revoked before.
    """
    with _store() as store:
        store.revoke(key_id)
    typer.echo(json.dumps({"id": key_id, "revoked": True}) if is_json else f"revoked {key_id}")


@contextmanager
def _store() -> Iterator[ApiKeyStore]:
    engine = create_unpooled_engine(load_database_url(), "darkroom-keys")
    with refusals_named():
        yield ApiKeyStore(engine)


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
