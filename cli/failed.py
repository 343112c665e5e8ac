"""`darkroom failed list` and `retry`: the jobs that have failed, all or some, in bulk."""

import sys
import time
from typing import Annotated
from uuid import UUID

import typer

from cli.client_app import JsonOption
from cli.operator import SinceOption, seconds_since
from cli.output import say
from cli.rows import Row, audited, database, say_items, say_rows
from shared.errors import InvalidRequest, UnknownJob

failed_app = typer.Typer(
    help="List and retry jobs that have failed.", no_args_is_help=True, rich_markup_mode=None
)

RATE_MAX = 1_000

_COLUMNS = {
    "id": "ID",
    "workspace_id": "WORKSPACE",
    "code": "CODE",
    "provider": "PROVIDER",
    "attempt": "ATTEMPTS",
    "finished_at": "FAILED",
    "message": "MESSAGE",
}

CodeOption = Annotated[
    str | None, typer.Option(metavar="CODE", help="Only with this error; `cancelled`, too.")
]
ProviderOption = Annotated[
    str | None, typer.Option(metavar="P", help="Only those of this provider.")
]
WorkspaceOption = Annotated[str | None, typer.Option(metavar="W", help="Only of this workspace.")]


@failed_app.command("list")
def list_failed(
    since: SinceOption = "1h",
    code: CodeOption = None,
    provider: ProviderOption = None,
    workspace: WorkspaceOption = None,
    is_json: JsonOption = False,
) -> None:
    """List jobs that have failed and were not retried.

    Those that were cancelled are left out, unless --code names them.
    """
    say_rows(_found(since, code, provider, workspace), _COLUMNS, is_json=is_json)


@failed_app.command("retry")
def retry_failed(
    since: SinceOption = "1h",
    code: CodeOption = None,
    provider: ProviderOption = None,
    workspace: WorkspaceOption = None,
    rate: Annotated[str, typer.Option(metavar="N/s", help="New jobs a second, as `5/s`.")] = "5/s",
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Only list them.")] = False,
    is_json: JsonOption = False,
) -> None:
    """Retry the jobs that `list` lists, as new jobs of the same orders.

    A second run leaves out what a first one has retried. Uses the settings of the environment.
    """
    pause_seconds = _pause_of(rate)
    found = _found(since, code, provider, workspace)
    if is_dry:
        say_rows(found, _COLUMNS, is_json=is_json)
        return
    done = _retry_each([UUID(str(row["id"])) for row in found], pause_seconds)
    if is_json:
        say_items(done)
    else:
        say(f"retried {len(done)} of {len(found)} jobs")


def _found(since: str, code: str | None, provider: str | None, workspace: str | None) -> list[Row]:
    from shared.jobs.overview import Overview

    seconds = seconds_since(since)
    with database("failed") as engine:
        filters = {"code": code, "provider": provider, "workspace_id": workspace}
        return list(Overview(engine).failed(seconds, **filters))


def _retry_each(job_ids: list[UUID], pause_seconds: float) -> list[Row]:
    from shared.database.session import refusals_named
    from shared.jobs.acceptance import Terms
    from shared.logs import configure_logging
    from shared.settings import load_settings
    from shared.wiring import build_services

    settings = load_settings()
    configure_logging("failed", settings.log_level, sys.stderr)
    done: list[Row] = []
    with build_services(settings) as services, refusals_named():
        for job_id in job_ids:
            try:
                with audited(services.engine, "retry", f"job {job_id}"):
                    job = services.submitter.retry(job_id, Terms()).job
            except (InvalidRequest, UnknownJob) as error:
                # Deleted since, or its product was: the others can still be retried.
                say(f"darkroom: job {job_id} is left out: {error}", err=True)
                continue
            done.append({"retry_of": job_id, "id": job.id})
            time.sleep(pause_seconds)
    return done


def _pause_of(rate: str) -> float:
    number = rate.removesuffix("/s")
    if not number.isascii() or not number.isdecimal() or not 0 < int(number) <= RATE_MAX:
        raise InvalidRequest(f"--rate: must be 1/s to {RATE_MAX}/s, not {rate[:64]!r}")
    return 1 / int(number)
