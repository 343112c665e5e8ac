"""The commands on API keys, and their options."""

from typing import Annotated

import typer

from cli.client_app import JsonOption

keys_app = typer.Typer(
    help="Make, list and revoke API keys, in the database of DATABASE_URL.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


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
    from cli.keys import run_create

    run_create(workspace, name, makes_workspace=create_workspace, is_json=is_json)


@keys_app.command("list")
def list_keys(
    workspace: Annotated[
        str | None, typer.Option(metavar="W", help="Only of this workspace.")
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """List keys, oldest first, without their texts."""
    from cli.keys import run_list

    run_list(workspace, is_json=is_json)


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")],
    is_json: JsonOption = False,
) -> None:
    """Make a key worthless, from the next request on."""
    from cli.keys import run_revoke

    run_revoke(key_id, is_json=is_json)
