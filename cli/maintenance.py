"""`darkroom migrate` and `darkroom sweep`: single steps against the servers that are given."""

import sys

import typer

from shared.database.session import refusals_named
from shared.jobs.migration import migrate
from shared.logs import configure_logging
from shared.settings import load_database_url, load_settings
from shared.wiring import build_services


def run_migrate() -> None:
    """Migrate the database and print the revision it is at."""
    database_url = load_database_url()
    # No other setting is read, so that a migration needs none; standard output is for the answer.
    configure_logging("migrate", "INFO", sys.stderr)
    revision = migrate(database_url)
    typer.echo(f"database is at revision {revision}")


def run_sweep() -> None:
    """Sweep once and print what was done."""
    settings = load_settings()
    configure_logging("sweep", settings.log_level, sys.stderr)
    with build_services(settings) as services, refusals_named():
        report = services.sweep()
    typer.echo(
        f"revived {report.revived}, ended {report.ended}, "
        f"dispatched {report.dispatched}, announced {report.announced}"
    )
