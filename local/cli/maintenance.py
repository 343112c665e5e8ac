"""`darkroom migrate` and `darkroom sweep`: single steps against the servers that are given."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from sqlalchemy import exc

from shared.errors import ConfigurationError
from shared.jobs.migrate import migrate
from shared.logs import configure_logging
from shared.settings import load_database_url, load_settings
from shared.wiring import build_services


def run_migrate() -> None:
    """Migrate the database and print the revision it is at."""
    database_url = load_database_url()
    # No other setting is read, so that a migration needs none; standard output is for the answer.
    configure_logging("migrate", "INFO", sys.stderr)
    revision = migrate_database(database_url)
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


def migrate_database(database_url: str) -> str:
    """Migrate, and return the revision reached.

    Raises:
        ConfigurationError: PostgreSQL refuses, say for want of a permission.
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    with refusals_named():
        return migrate(database_url)


@contextmanager
def refusals_named() -> Iterator[None]:
    """Name what PostgreSQL refuses: tables that are missing, rights that this user lacks."""
    try:
        yield
    except exc.ProgrammingError as error:
        reason = str(error.orig).partition("\n")[0]
        raise ConfigurationError(f"PostgreSQL: {reason} (was `darkroom migrate` run?)") from error
