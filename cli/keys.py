"""`darkroom keys`: the API keys of DATABASE_URL, made, listed and revoked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.client_app import JsonOption
from cli.output import say
from cli.rows import database, say_object, say_rows

if TYPE_CHECKING:
    from shared.access.api_keys import ApiKeyStore

keys_app = typer.Typer(
    help="Make, list and revoke API keys, in the database of DATABASE_URL.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_COLUMNS = {
    "id": "ID",
    "workspace_id": "WORKSPACE",
    "created_at": "CREATED",
    "revoked_at": "REVOKED",
    "name": "NAME",
}


@keys_app.command()
def create(
    workspace: Annotated[str, typer.Option(metavar="W", help="Whose jobs the key leads to.")],
    name: Annotated[str, typer.Option(metavar="N", help="What the key is for.")],
    create_workspace: Annotated[
        bool, typer.Option("--create-workspace", help="Make the workspace if there is none.")
    ] = False,
    is_json: JsonOption = False,
) -> None:
    """Make a key and print it, this once."""
    with _store() as store:
        key, text = store.create(workspace, name, makes_workspace=create_workspace)
    if is_json:
        say_object({**key.as_dict(), "key": text})
        return
    say(text)
    say(f"key {key.id} of workspace {key.workspace_id}; it is shown only now", err=True)


@keys_app.command("list")
def list_keys(
    workspace: Annotated[
        str | None, typer.Option(metavar="W", help="Only of this workspace.")
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """List keys, oldest first, without their texts."""
    with _store() as store:
        keys = store.list(workspace)
    say_rows([asdict(key) for key in keys], _COLUMNS, is_json=is_json)


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")],
    is_json: JsonOption = False,
) -> None:
    """Make a key worthless, from the next request on."""
    with _store() as store:
        store.revoke(key_id)
    if is_json:
        say_object({"id": key_id, "revoked": True})
    else:
        say(f"revoked {key_id}")


@contextmanager
def _store() -> Iterator["ApiKeyStore"]:
    # Imported here, so that `--help` answers at once.
    from shared.access.api_keys import ApiKeyStore

    with database("keys") as engine:
        yield ApiKeyStore(engine)
