"""`darkroom webhooks`: the webhooks of all workspaces, and what becomes of their deliveries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.client_app import JsonOption
from cli.operator import seconds_since
from cli.output import say
from cli.rows import Row, audited, database, say_object, say_rows

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shared.webhooks.store import Webhook, WebhookStore

webhooks_app = typer.Typer(
    help="List webhooks and their deliveries, and send them again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_COLUMNS = {
    "id": "ID",
    "workspace_id": "WORKSPACE",
    "url": "URL",
    "state": "STATE",
    "failing_since": "FAILING SINCE",
    "disabled_at": "DISABLED",
    "disabled_reason": "REASON",
}
_DELIVERY_COLUMNS = {
    "id": "ID",
    "job_id": "JOB",
    "event": "EVENT",
    "created_at": "CREATED",
    "tries": "TRIES",
    "next_try_at": "NEXT TRY",
    "delivered_at": "DELIVERED",
    "status_code": "STATUS",
    "error": "ERROR",
}

WebhookArgument = Annotated[UUID, typer.Argument(metavar="WEBHOOK", help="Its id.")]


@webhooks_app.command("list")
def list_webhooks(
    workspace: Annotated[
        str | None, typer.Option(metavar="W", help="Only of this workspace.")
    ] = None,
    is_failing: Annotated[
        bool, typer.Option("--failing", help="Only those that fail, or were disabled.")
    ] = False,
    is_json: JsonOption = False,
) -> None:
    """List the webhooks, oldest first. One without a URL signs what requests ask for."""
    with _store() as store:
        found = (store.list_failing if is_failing else store.list)(workspace)
    say_rows([_row_of(webhook) for webhook in found], _COLUMNS, is_json=is_json)


@webhooks_app.command("deliveries")
def list_deliveries(
    webhook_id: WebhookArgument,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 20,
    is_json: JsonOption = False,
) -> None:
    """List the newest deliveries of a webhook and how each ended."""
    with _store() as store:
        found = store.deliveries(_get(store, webhook_id).workspace_id, webhook_id, limit)
    say_rows([asdict(delivery) for delivery in found], _DELIVERY_COLUMNS, is_json=is_json)


@webhooks_app.command("resend")
def resend(
    thing_id: Annotated[
        UUID, typer.Argument(metavar="ID", help="A delivery; with --since, a webhook.")
    ],
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="All of a webhook made since: `30m`, `1h`, `7d`, `today` or a time.",
        ),
    ] = None,
    is_all: Annotated[
        bool, typer.Option("--delivered", help="Those that were delivered, too.")
    ] = False,
    is_json: JsonOption = False,
) -> None:
    """Send a delivery again, or all that were given up since a time.

    They keep their ids, and get a new schedule.
    """
    with _changing("resend", thing_id, since=since, with_delivered=is_all) as store:
        if since is None:
            store.resend(None, thing_id)
            sent = 1
        else:
            seconds = seconds_since(since)
            webhook = _get(store, thing_id)
            sent = store.resend_since(webhook.id, seconds, with_delivered=is_all)
    if is_json:
        say_object({"resent": sent})
    else:
        say(f"sends {sent} again")


@webhooks_app.command("enable")
def enable(webhook_id: WebhookArgument, is_json: JsonOption = False) -> None:
    """Enable a webhook that was disabled; what waits is sent."""
    _switch(webhook_id, is_enabled=True, is_json=is_json)


@webhooks_app.command("disable")
def disable(webhook_id: WebhookArgument, is_json: JsonOption = False) -> None:
    """Disable a webhook: its events are not kept meanwhile."""
    _switch(webhook_id, is_enabled=False, is_json=is_json)


def _switch(webhook_id: UUID, *, is_enabled: bool, is_json: bool) -> None:
    from shared.webhooks.store import WebhookChange

    with _changing("enable" if is_enabled else "disable", webhook_id) as store:
        change = WebhookChange(is_enabled=is_enabled)
        webhook, _ = store.change(_get(store, webhook_id).workspace_id, webhook_id, change)
    row = _row_of(webhook)
    if is_json:
        say_object(row)
    else:
        say(f"webhook {webhook.id} of {webhook.workspace_id}: {row['state']}")


def _row_of(webhook: "Webhook") -> Row:
    if webhook.disabled_at is not None:
        state = "disabled"
    else:
        state = "working" if webhook.failing_since is None else "failing"
    row: dict[str, Any] = asdict(webhook)
    return {**row, "state": state}


def _get(store: "WebhookStore", webhook_id: UUID) -> "Webhook":
    from shared.errors import UnknownWebhook

    found = store.list(webhook_id=webhook_id)
    if not found:
        raise UnknownWebhook(webhook_id)
    return found[0]


@contextmanager
def _changing(action: str, thing_id: UUID, **details: Any) -> Iterator["WebhookStore"]:
    target = f"webhook {thing_id}"
    with database("webhooks") as engine, audited(engine, action, target, **details):
        yield _store_of(engine)


@contextmanager
def _store() -> Iterator["WebhookStore"]:
    with database("webhooks") as engine:
        yield _store_of(engine)


def _store_of(engine: "Engine") -> "WebhookStore":
    # Imported here, so that `--help` answers at once.
    from shared.webhooks.store import WebhookStore

    return WebhookStore(engine, allows_private=True)
