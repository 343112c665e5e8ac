"""`darkroom queue`, `workers`, `failures`, `costs`, `stuck`, `audit`, `metrics`, all jobs.

What operators ask of DATABASE_URL.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.client_app import JsonOption
from cli.rows import Row, database, say_rows
from shared.errors import InvalidRequest

operator_app = typer.Typer()

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGE = re.compile(r"([0-9]{1,6})([smhd])")

SinceOption = Annotated[
    str, typer.Option(metavar="TIME", help="`90s`, `30m`, `1h`, `7d`, `today` or a time.")
]
ByOption = Annotated[str, typer.Option("--by", metavar="NAMES", help="Separated by commas.")]


@operator_app.command("queue")
def show_queue(by: ByOption = "workspace", is_json: JsonOption = False) -> None:
    """Show the open jobs of each workspace, or of each provider."""
    from shared.jobs.overview import QUEUE_GROUPS, Overview

    groups = _groups(by, QUEUE_GROUPS)
    with database("queue") as engine:
        overview = Overview(engine)
        if groups == ["workspace"]:
            rows = overview.queue()
        else:
            rows = overview.queue_by(groups, _default_provider())
    names = ["workspace_id" if group == "workspace" else group for group in groups]
    names += ["due", "delayed", "released", "running", "oldest_waiting_seconds", "is_paused"]
    _say(rows, names, is_json=is_json)


@operator_app.command("workers")
def show_workers(is_json: JsonOption = False) -> None:
    """Show the workers of both runtimes: slots, versions, last seen."""
    from shared.jobs.overview import Overview

    with database("workers") as engine:
        rows = Overview(engine).workers()
    names = ("owner", "runtime", "slots", "version", "started_at", "seen_at", "is_counted")
    _say(rows, names, is_json=is_json)


@operator_app.command("failures")
def show_failures(
    since: SinceOption = "1h", by: ByOption = "code,provider", is_json: JsonOption = False
) -> None:
    """Count the jobs that have failed, by what --by names.

    That is any of code, provider, model and workspace.
    """
    from shared.jobs.overview import FAILURE_GROUPS, Overview

    groups, seconds = _groups(by, FAILURE_GROUPS), seconds_since(since)
    with database("failures") as engine:
        rows = Overview(engine).failures(seconds, groups)
    _say(rows, (*groups, "jobs", "last_at", "message"), is_json=is_json)


@operator_app.command("costs")
def show_costs(
    since: SinceOption = "today", by: ByOption = "workspace,model", is_json: JsonOption = False
) -> None:
    """Sum up what the calls of providers have cost.

    By any of workspace, provider and model.
    """
    from shared.jobs.overview import COST_GROUPS, Overview

    groups, seconds = _groups(by, COST_GROUPS), seconds_since(since)
    with database("costs") as engine:
        rows = Overview(engine).costs(seconds, groups)
    sums = ("price_microdollars", "charged_calls", "unknown_calls", "unpriced_calls")
    _say(rows, (*groups, *sums), is_json=is_json)


@operator_app.command("stuck")
def show_stuck(is_json: JsonOption = False) -> None:
    """Show jobs that recovery should have moved on by now."""
    from shared.jobs.overview import Overview

    with database("stuck") as engine:
        rows = Overview(engine).stuck()
    _say(rows, ("job_id", "workspace_id", "reason", "seconds"), is_json=is_json)


@operator_app.command("audit")
def show_audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 20,
    is_json: JsonOption = False,
) -> None:
    """Show who did what, on the operator page and with commands."""
    from shared.access.audit import AuditStore

    with database("audit") as engine:
        rows = [asdict(entry) for entry in AuditStore(engine).list(limit)]
    _say(rows, ("at", "who", "action", "target", "details", "error"), is_json=is_json)


@operator_app.command("metrics")
def show_metrics(
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve them on METRICS_PORT until Ctrl-C.")
    ] = False,
    is_json: JsonOption = False,
) -> None:
    """Show the metrics as Prometheus reads them.

    --serve is for the cloud, where no process stays; the API and the workers of the local runtime
    serve them by themselves.
    """
    from cli.metrics import print_metrics, serve_metrics

    if serve:
        serve_metrics()
    else:
        print_metrics(is_json=is_json)


def seconds_since(text: str, now: datetime | None = None) -> float:
    """Return the seconds from a time to now.

    Args:
        text: An age such as `1h`, `today` (since midnight here), or a time of ISO 8601.
        now: For tests.

    Raises:
        InvalidRequest: It is none of these.
    """
    now = now or datetime.now(UTC)
    if found := _AGE.fullmatch(text):
        return float(int(found[1]) * _UNITS[found[2]])
    here = now.astimezone()
    try:
        if text == "today":
            moment = here.replace(hour=0, minute=0, second=0, microsecond=0)
        else:
            moment = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"--since: must be 90s, 30m, 1h, 7d, today or a time, not {text[:64]!r}"
        ) from None
    return max(0.0, (here - moment).total_seconds())


def say_newest(limit: int, *filters: Any, is_json: bool) -> None:
    """Print jobs of all workspaces, newest first."""
    from shared.jobs.overview import Overview

    with database("jobs") as engine:
        rows = Overview(engine).newest(limit, *filters)
    names = ("id", "workspace_id", "status", "attempt", "code", "created_at", "prompt")
    _say(rows, names, is_json=is_json)


def _default_provider() -> str:
    from shared.settings import load_settings

    return load_settings().providers[0].name


def _groups(text: str, known: Sequence[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or set(names) - set(known):
        raise InvalidRequest(f"--by: must name some of {', '.join(known)}, not {text[:64]!r}")
    return list(dict.fromkeys(names))


def _say(rows: Sequence[Row], names: Sequence[str], *, is_json: bool) -> None:
    heads = {name: name.removesuffix("_id").removeprefix("is_") for name in names}
    columns = {name: head.replace("_", " ").upper() for name, head in heads.items()}
    say_rows(rows, columns, is_json=is_json)
