"""`darkroom rejected`: messages on the queues that name no job, kept in DATABASE_URL."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.client_app import JsonOption
from cli.output import say, say_json
from cli.rows import audited, database

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shared.jobs.rejected_store import RejectedStore

rejected_app = typer.Typer(
    help="List messages on the queues that name no job.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@rejected_app.command("list")
def list_rejected(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 20,
    is_json: JsonOption = False,
) -> None:
    """List the newest messages that were rejected, with the reason.

    The newest 1,000 of both runtimes are kept.
    """
    with database("rejected") as engine:
        found = _store(engine).list(limit)
    if is_json:
        say_json(json.dumps({"items": [envelope.as_dict() for envelope in found]}))
        return
    for envelope in found:
        moment = f"{envelope.received_at.astimezone():%Y-%m-%d %H:%M:%S}"
        say(f"{moment}  {envelope.runtime:<6}  {envelope.code}  {envelope.reason}")
        say(f"    {json.dumps(envelope.body)}")


@rejected_app.command("purge")
def purge_rejected(is_json: JsonOption = False) -> None:
    """Delete all messages that were rejected."""
    with database("rejected") as engine, audited(engine, "purge", "rejected messages"):
        deleted = _store(engine).purge()
    if is_json:
        say_json(json.dumps({"deleted": deleted}))
    else:
        say(f"deleted {deleted}")


def _store(engine: "Engine") -> "RejectedStore":
    # Imported here, so that `--help` answers at once.
    from shared.jobs.rejected_store import RejectedStore

    return RejectedStore(engine)
