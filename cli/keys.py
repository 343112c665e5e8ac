"""`darkroom keys`: the API keys of DATABASE_URL, made, listed and revoked."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.client_app import JsonOption
from cli.output import say
from cli.rows import audited, database, say_object, say_rows
from shared.access.scopes import OWN_SCOPES, Scope

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shared.access.api_keys import ApiKeyStore

keys_app = typer.Typer(
    help="Make, list and revoke API keys, in the database of DATABASE_URL.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_COLUMNS = {
    "id": "ID",
    "workspace_id": "WORKSPACE",
    "scopes": "SCOPES",
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
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it may be used for, each; all but `admin` if not given."),
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """Make a key and print it, this once.

    `submit` makes jobs and uploads pictures, `read` shows them, `cancel` cancels and deletes them.
    `admin` opens the operator page and its routes, over all workspaces.
    """
    scopes = scope or OWN_SCOPES
    with database("keys") as engine:
        target = f"workspace {workspace}"
        with audited(engine, "create key", target, name=name, scopes=[*scopes]):
            key, text = _store(engine).create(
                workspace, name, makes_workspace=create_workspace, scopes=scopes
            )
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
    with database("keys") as engine:
        keys = _store(engine).list(workspace)
    say_rows([asdict(key) for key in keys], _COLUMNS, is_json=is_json)


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")],
    is_json: JsonOption = False,
) -> None:
    """Make a key worthless, from the next request on."""
    with database("keys") as engine, audited(engine, "revoke key", f"key {key_id}"):
        _store(engine).revoke(key_id)
    if is_json:
        say_object({"id": key_id, "revoked": True})
    else:
        say(f"revoked {key_id}")


def _store(engine: "Engine") -> "ApiKeyStore":
    from shared.access.api_keys import ApiKeyStore

    return ApiKeyStore(engine)
