"""`darkroom failed list`, `show`, `retry`, `purge`: the jobs that have failed, all or some."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from cli.client_app import JobId, JsonOption, say_job
from cli.operator import SinceOption, seconds_since
from cli.output import say
from cli.rows import Row, audited, database, say_items, say_rows
from shared.errors import InvalidRequest, JobRuns, UnknownJob

if TYPE_CHECKING:
    from shared.wiring import Services

failed_app = typer.Typer(
    help="List, retry and delete jobs that have failed.",
    no_args_is_help=True,
    rich_markup_mode=None,
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
RateOption = Annotated[str, typer.Option(metavar="N/s", help="So many jobs a second, as `5/s`.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only list them.")]


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


@failed_app.command("show")
def show_failed(job_id: JobId, is_json: JsonOption = False) -> None:
    """Show all that is known of a job of any workspace."""
    from shared.api.presenter import Presenter

    with _services() as services:
        workspace_id = services.jobs.get(job_id).workspace_id
        view = services.views.get(job_id, workspace_id)
        job = Presenter(services.settings, signs=False).show(view)
    if is_json:
        say_items([{"workspace_id": workspace_id, **job.model_dump(mode="json")}])
    else:
        say_job(job, workspace=workspace_id)


@failed_app.command("retry")
def retry_failed(
    since: SinceOption = "1h",
    code: CodeOption = None,
    provider: ProviderOption = None,
    workspace: WorkspaceOption = None,
    rate: RateOption = "5/s",
    is_dry: DryOption = False,
    is_json: JsonOption = False,
) -> None:
    """Retry the jobs that `list` lists, as new jobs of the same orders.

    A second run leaves out what a first one has retried. Uses the settings of the environment.
    """
    from shared.jobs.acceptance import Terms

    def retry(services: "Services", job_id: UUID) -> Row:
        return {"retry_of": job_id, "id": services.submitter.retry(job_id, Terms()).job.id}

    found = _found(since, code, provider, workspace)
    _do("retry", "retried", retry, found, rate, is_dry=is_dry, is_json=is_json)


@failed_app.command("purge")
def purge_failed(
    since: SinceOption = "1h",
    code: CodeOption = None,
    provider: ProviderOption = None,
    workspace: WorkspaceOption = None,
    rate: RateOption = "50/s",
    is_dry: DryOption = False,
    is_json: JsonOption = False,
) -> None:
    """Delete the jobs that `list` lists, with their ledgers and pictures.

    What their calls have cost is forgotten with them. Uses the settings of the environment.
    """

    def purge(services: "Services", job_id: UUID) -> Row:
        services.deleter.delete(job_id)
        return {"id": job_id}

    found = _found(since, code, provider, workspace)
    _do("purge", "deleted", purge, found, rate, is_dry=is_dry, is_json=is_json)


def _found(since: str, code: str | None, provider: str | None, workspace: str | None) -> list[Row]:
    from shared.jobs.overview import Overview

    seconds = seconds_since(since)
    with database("failed") as engine:
        filters = {"code": code, "provider": provider, "workspace_id": workspace}
        return list(Overview(engine).failed(seconds, **filters))


@contextmanager
def _services() -> "Iterator[Services]":
    from shared.database.session import refusals_named
    from shared.logs import configure_logging
    from shared.settings import load_settings
    from shared.wiring import build_services

    settings = load_settings()
    configure_logging("failed", settings.log_level, sys.stderr)
    with build_services(settings) as services, refusals_named():
        yield services


def _do(
    action: str,
    done_word: str,
    do: "Callable[[Services, UUID], Row]",
    found: list[Row],
    rate: str,
    *,
    is_dry: bool,
    is_json: bool,
) -> None:
    """Do something with each job, no faster than the rate, and print what was done."""
    pause_seconds = _pause_of(rate)
    if is_dry:
        say_rows(found, _COLUMNS, is_json=is_json)
        return
    done: list[Row] = []
    with _services() as services:
        for job_id in [UUID(str(row["id"])) for row in found]:
            try:
                with audited(services.engine, action, f"job {job_id}"):
                    done.append(do(services, job_id))
            except (InvalidRequest, UnknownJob, JobRuns) as error:
                # Deleted since, or its product was: the others can still be worked on.
                say(f"darkroom: job {job_id} is left out: {error}", err=True)
                continue
            time.sleep(pause_seconds)
    if is_json:
        say_items(done)
    else:
        say(f"{done_word} {len(done)} of {len(found)} jobs")


def _pause_of(rate: str) -> float:
    number = rate.removesuffix("/s")
    if not number.isascii() or not number.isdecimal() or not 0 < int(number) <= RATE_MAX:
        raise InvalidRequest(f"--rate: must be 1/s to {RATE_MAX}/s, not {rate[:64]!r}")
    return 1 / int(number)
