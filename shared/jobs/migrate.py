"""Bringing a database to the newest schema, safely with several processes at once.

Used by `darkroom migrate`, by the embedded stack and by the migration step of deployments.
Alembic is imported only here and in the migrations.
"""

from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text

from shared.database.session import CONNECT_TIMEOUT_SECONDS, reporting_unavailability

log = structlog.get_logger(__name__)

_FOLDER = Path(__file__).parent / "migrations"

MIGRATION_LOCK = 0x6461726B
"""Advisory lock held by the process that migrates (the first letters of the project)."""


def migrate(database_url: str) -> str:
    """Apply what is missing, one process at a time, and return the revision reached.

    A database that a newer release has migrated is left as it is: each release works with the
    schema of the next one, so that one can be rolled back.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    engine = create_engine(database_url, connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS})
    try:
        with reporting_unavailability(), engine.begin() as connection:
            # Released with the transaction, so a killed migration leaves no lock.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            revision = current_revision(connection)
            if _is_unknown(revision):
                log.warning("the database is newer than this code", revision=revision)
            else:
                command.upgrade(alembic_config(connection), "head")
            return current_revision(connection) or "none"
    finally:
        engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """Return the configuration under which Alembic works on this connection."""
    config = Config()
    # A percent sign in the path would be taken for interpolation by configparser.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def current_revision(connection: Connection) -> str | None:
    """Return the revision that the database is at, or None before the first."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str | None:
    """Return the revision that this code needs."""
    return _scripts().get_current_head()


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _is_unknown(revision: str | None) -> bool:
    if revision is None:
        return False
    try:
        _scripts().get_revision(revision)
    except CommandError:
        return True
    return False
