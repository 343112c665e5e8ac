"""The commands and their options; what each does lies in a module of its own.

Those modules are imported by the command that needs them, so that `--help` answers at once.
"""

from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from cli.client_app import client_app
from cli.keys_app import keys_app

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
    if not is_asked:
        return
    try:
        typer.echo(f"darkroom {version('darkroom')}")
    except PackageNotFoundError:
        typer.echo("darkroom (not installed)")
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
    """Run one job over HTTP from prompt to pictures, then stop everything.

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
    """Run the same scenarios through both runtimes and compare all that can be seen.

    Needs nothing but this machine: DATABASE_URL and REDIS_URL are not used. Ends with 0 only
    if every scenario ended as it should and no difference was found.
    """
    from cli.parity import list_scenarios, run_parity

    if names:
        list_scenarios()
    else:
        run_parity(tuple(scenario or ()), is_markdown=markdown)


@app.command()
def migrate() -> None:
    """Bring the database of DATABASE_URL to the newest schema.

    Safe to run at any time, also by several processes at once.
    """
    from cli.maintenance import run_migrate

    run_migrate()


@app.command()
def sweep() -> None:
    """Finish what others left undone, once: lost workers, envelopes and last events.

    Every worker does this by itself each SWEEP_SECONDS. Uses the settings of the environment.
    """
    from cli.maintenance import run_sweep

    run_sweep()


@app.command()
def doctor(
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Print every rule, recovery times and versions."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Check the settings of this environment, Celery's options and the servers.

    The first line is the verdict. Ends with 0 if no rule is broken and 1 if one is.
    """
    from cli.doctor.command import run_doctor

    run_doctor(is_verbose=verbose, as_json=as_json)
