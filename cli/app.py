"""The commands and their options; what the longer ones do lies in a module of its own.

Each imports what it needs when it runs, so that `--help` answers at once.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.client_app import client_app
from cli.failed import failed_app
from cli.keys import keys_app
from cli.limits import limits_app, pause_app
from cli.operator import operator_app
from cli.output import say
from cli.rejected import rejected_app
from cli.webhooks import webhooks_app
from shared import __version__

app = typer.Typer(
    help="AI image generation as background jobs: one handler, run by Celery and by AWS Lambda.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEFAULT_PROMPT = "A ceramic mug on a wooden table, morning light"
DEFAULT_OUT = Path("darkroom-demo")


class RuntimeName(StrEnum):
    """The runtimes, as options name them."""

    CELERY = "celery"
    LAMBDA = "lambda"


RuntimeOption = Annotated[
    RuntimeName,
    typer.Option(help="What runs the job: a Celery worker, or AWS Lambda functions fed by SQS."),
]


def _show_version(is_asked: bool) -> None:
    if is_asked:
        say(f"darkroom {__version__}")
        raise typer.Exit


@app.callback()
def darkroom(
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that stand before the command."""


@app.command()
def demo(
    runtime: RuntimeOption = RuntimeName.CELERY,
    prompt: Annotated[str, typer.Option(help="What the pictures show.")] = DEFAULT_PROMPT,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the pictures; made if need be.")
    ] = DEFAULT_OUT,
) -> None:
    """Run one job from prompt to pictures, then stop everything.

    PostgreSQL and Redis are started for it, unless DATABASE_URL or REDIS_URL name yours.
    """
    from cli.demo import run_demo

    run_demo(runtime.value, prompt, out)


@app.command()
def up(
    runtime: RuntimeOption = RuntimeName.CELERY,
    port: Annotated[
        int, typer.Option(envvar="API_PORT", min=0, max=65_535, help="Port of the API.")
    ] = 8000,
    host: Annotated[
        str, typer.Option(envvar="API_HOST", help="Address that the API listens on.")
    ] = "127.0.0.1",
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="DARKROOM_DATA", file_okay=False, help="Folder that keeps rows and images."
        ),
    ] = None,
) -> None:
    """Run jobs and the API until Ctrl-C.

    PostgreSQL and Redis are started for it, unless DATABASE_URL or REDIS_URL name yours. Their
    data is deleted at the end, unless --data names a folder that keeps it. The log lines of the
    runtime and of the API go to standard output.
    """
    from cli.up import run_up

    run_up(runtime.value, host, port, data)


app.add_typer(client_app)
app.add_typer(keys_app, name="keys")
app.add_typer(limits_app, name="limits")
app.add_typer(pause_app)
app.add_typer(rejected_app, name="rejected")
app.add_typer(operator_app)
app.add_typer(failed_app, name="failed")
app.add_typer(webhooks_app, name="webhooks")


@app.command()
def parity(
    scenario: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Run only this one; may be given several times."),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table as Markdown.")
    ] = False,
    names: Annotated[bool, typer.Option("--list", help="Show the scenarios and stop.")] = False,
) -> None:
    """Run the same scenarios in both runtimes and compare them.

    Needs nothing but this machine: DATABASE_URL and REDIS_URL are not used. Ends with 0 only
    if every scenario ended as it should and no difference was found.
    """
    from cli.parity import list_scenarios, run_parity

    if names:
        list_scenarios()
    else:
        run_parity(tuple(scenario or ()), is_markdown=markdown)


@app.command("migrate")
def migrate_database() -> None:
    """Bring the database of DATABASE_URL to the newest schema.

    Safe to run at any time, also by several processes at once.
    """
    from shared.jobs.migration import migrate
    from shared.logs import configure_logging
    from shared.settings import load_database

    database = load_database()
    # Standard output is for the answer.
    configure_logging("migrate", "INFO", sys.stderr)
    say(f"database is at revision {migrate(database.database_url, database.database_schema)}")


@app.command()
def sweep() -> None:
    """Recover lost jobs, envelopes and last events, once.

    Every worker does this by itself each SWEEP_SECONDS. Uses the settings of the environment.
    """
    from shared.database.session import refusals_named
    from shared.logs import configure_logging
    from shared.settings import load_settings
    from shared.wiring import build_services

    settings = load_settings()
    configure_logging("sweep", settings.log_level, sys.stderr)
    with build_services(settings) as services, refusals_named():
        report = services.sweep()
    say(
        f"revived {report.revived}, ended {report.ended}, "
        f"dispatched {report.dispatched}, announced {report.announced}"
    )


@app.command()
def doctor(
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Print every rule, recovery times and versions."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Check the settings, Celery's options and the servers.

    The first line is the verdict. Ends with 0 if no rule is broken and 1 if one is.
    """
    from cli.doctor.command import run_doctor

    run_doctor(is_verbose=verbose, as_json=as_json)
