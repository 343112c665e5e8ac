"""`darkroom limits`, `pause` and `resume`: what workspaces may do, written in DATABASE_URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.client_app import JsonOption
from cli.output import say
from cli.rows import Row, audited, database, moment, say_items, say_object, say_table
from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from shared.jobs.workspace_limits import LimitStore, OwnLimits

limits_app = typer.Typer(
    help="Show and set limits of workspaces in the database.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
pause_app = typer.Typer()

DEFAULT = "default"
"""What stands for the default of the settings."""

_COLUMNS = {
    "workspace_id": "WORKSPACE",
    "open_jobs": "OPEN JOBS",
    "running_jobs": "RUNNING JOBS",
    "submissions_per_minute": "SUBMISSIONS PER MINUTE",
    "cost_per_day": "COST PER DAY",
    "cost_per_month": "COST PER MONTH",
    "models": "MODELS",
    "paused_at": "PAUSED",
}

WorkspaceOption = Annotated[str | None, typer.Option(metavar="W", help="Whose jobs wait.")]
ProviderOption = Annotated[
    str | None, typer.Option(metavar="P", help="The provider that is not called.")
]
LimitOption = Annotated[str | None, typer.Option(metavar="N", help="A number, or `default`.")]
CostOption = Annotated[
    str | None, typer.Option(metavar="N", help="Micro-dollars (UTC), or `default`.")
]


@limits_app.command("show")
def show_limits(
    workspace: Annotated[
        str | None, typer.Option(metavar="W", help="Only of this workspace.")
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """Show workspaces with limits of their own, and pauses."""
    from shared.jobs.workspace_limits import OwnLimits

    with _store() as store:
        found, providers = store.list(workspace), store.paused_providers()
    if workspace is not None and not found:
        found = [OwnLimits(workspace)]
    if is_json:
        say_items([asdict(limits) for limits in found], paused_providers=providers)
        return
    say_table([_row(limits) for limits in found], _COLUMNS)
    for name, paused_at in providers.items():
        say(f"provider {name} is paused since {moment(paused_at)}")


@limits_app.command("set")
def set_limits(
    workspace: Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace's id.")],
    open_jobs: LimitOption = None,
    running_jobs: LimitOption = None,
    submissions_per_minute: LimitOption = None,
    cost_per_day: CostOption = None,
    cost_per_month: CostOption = None,
    models: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Models, separated by commas, or `default` for all."),
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """Give a workspace limits of its own, or the default ones.

    The next request and the next release of jobs keep them, in both runtimes.
    """
    chosen = {
        "open_jobs": open_jobs,
        "running_jobs": running_jobs,
        "submissions_per_minute": submissions_per_minute,
        "cost_per_day": cost_per_day,
        "cost_per_month": cost_per_month,
    }
    changes: dict[str, object] = {
        name: _limit(name, text) for name, text in chosen.items() if text is not None
    }
    if models is not None:
        names = [name.strip() for name in models.split(",")]
        changes["models"] = None if models == DEFAULT else [name for name in names if name]
    if not changes:
        raise InvalidRequest("limits: name at least one to set")
    with _changing("limits", f"workspace {workspace}", **changes) as store:
        limits = store.set(workspace, changes)
    if is_json:
        say_object(asdict(limits))
    else:
        say_table([_row(limits)], _COLUMNS)


@pause_app.command()
def pause(
    workspace: WorkspaceOption = None,
    provider: ProviderOption = None,
    is_json: JsonOption = False,
) -> None:
    """Start no more jobs of a workspace or of a provider.

    Jobs are accepted all the same and wait. Those that run go on.
    """
    kind, name = _target(workspace, provider)
    with _changing("pause", f"{kind} {name}") as store:
        if kind == "workspace":
            store.pause(name)
        else:
            store.pause_provider(name)
    if is_json:
        say_object({kind: name, "paused": True})
    else:
        say(f"{kind} {name} is paused: its jobs are accepted and wait")


@pause_app.command()
def resume(
    workspace: WorkspaceOption = None,
    provider: ProviderOption = None,
    is_json: JsonOption = False,
) -> None:
    """Start the jobs again that wait for the end of a pause."""
    kind, name = _target(workspace, provider)
    with _changing("resume", f"{kind} {name}") as store:
        was_paused = (store.resume if kind == "workspace" else store.resume_provider)(name)
    if is_json:
        say_object({kind: name, "paused": False})
    else:
        say(f"{kind} {name} {'is resumed' if was_paused else 'was not paused'}")


def _target(workspace: str | None, provider: str | None) -> tuple[str, str]:
    if workspace is not None and provider is None:
        return "workspace", workspace
    if provider is None or workspace is not None:
        raise InvalidRequest("name either --workspace or --provider")
    from shared.imaging.providers.registry import BUILT_IN

    known = [each.name for each in BUILT_IN]
    if provider not in known:
        say(f"darkroom: {provider!r} is none of {', '.join(known)}", err=True)
    return "provider", provider


def _limit(name: str, text: str) -> int | None:
    if text == DEFAULT:
        return None
    most = 2**53 if name.startswith("cost") else 2**31
    if not text.isascii() or not text.isdecimal() or int(text) >= most:
        option = name.replace("_", "-")
        raise InvalidRequest(f"--{option}: must be a number or {DEFAULT!r}, not {text[:64]!r}")
    return int(text)


@contextmanager
def _store() -> Iterator["LimitStore"]:
    # Imported here, so that `--help` answers at once.
    from shared.jobs.workspace_limits import LimitStore

    with database("limits") as engine:
        yield LimitStore(engine)


@contextmanager
def _changing(action: str, target: str, **details: object) -> Iterator["LimitStore"]:
    from shared.jobs.workspace_limits import LimitStore

    with database("limits") as engine, audited(engine, action, target, **details):
        yield LimitStore(engine)


def _row(limits: "OwnLimits") -> Row:
    row = asdict(limits)
    return {
        name: DEFAULT if value is None and name != "paused_at" else value
        for name, value in row.items()
    }
