"""Bringing a database to the newest schema, safely with several processes at once.

Used by `darkroom migrate`, by the embedded stack and by the migration step of deployments.
Alembic is imported only here and in the migrations.
"""

import time
from pathlib import Path

import psycopg2.errors
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, exc, text

from shared.database.session import (
    CONNECT_TIMEOUT_SECONDS,
    refusals_named,
    reporting_unavailability,
)
from shared.errors import ServiceUnavailable

log = structlog.get_logger(__name__)

_FOLDER = Path(__file__).parent / "migrations"

MIGRATION_LOCK = 0x6461726B
"""Advisory lock held by the process that migrates (the first letters of the project)."""


LOCK_TIMEOUT_SECONDS = 1.5
"""How long a statement of a migration waits for a table that is in use.

All others wait behind it: less than the 2 s after which they would give up. But more than the
deadlock_timeout of 1 s, after which PostgreSQL cancels an autovacuum that is in the way.
"""

LOCK_PAUSE_SECONDS = 1.5
"""Between two tries: statements that had to wait go first."""

LOCK_TRIES = 20

# A deadlock is another way to be in each other's way.
_IN_THE_WAY = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)


def migrate(database_url: str, *, lock_tries: int = LOCK_TRIES) -> str:
    """Apply what is missing, one process at a time, and return the revision reached.

    A database that a newer release has migrated is left as it is: each release works with the
    schema of the next one, so that one can be rolled back.

    A table that is in use for long is not waited for, because all other statements would queue
    behind the migration. It is undone, and tried again after a pause.

    Args:
        database_url: Of the database.
        lock_tries: How often it is tried while tables are in use.

    Raises:
        ConfigurationError: PostgreSQL refuses, say for want of a permission.
        ServiceUnavailable: PostgreSQL cannot be reached, or a table was in use at each try.
    """
    engine = create_engine(database_url, connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS})
    try:
        for number in range(1, lock_tries + 1):
            revision = _try_to_migrate(engine)
            if revision is not None:
                return revision
            log.warning("a table is in use", number=number, tries=lock_tries)
            if number < lock_tries:
                time.sleep(LOCK_PAUSE_SECONDS)
    finally:
        engine.dispose()
    raise ServiceUnavailable(
        f"PostgreSQL: the migration was undone, as a long transaction used one of its tables at "
        f"each of {lock_tries} tries; end it (the oldest xact_start in pg_stat_activity), then "
        "migrate again"
    )


def _try_to_migrate(engine: Engine) -> str | None:
    """Return the revision reached; None if a table was in use, and nothing was changed."""
    try:
        with refusals_named(), reporting_unavailability(), engine.begin() as connection:
            return _upgrade(connection)
    except ServiceUnavailable as error:
        cause = error.__cause__
        if isinstance(cause, exc.DBAPIError) and isinstance(cause.orig, _IN_THE_WAY):
            return None
        raise


def _upgrade(connection: Connection) -> str:
    # Released with the transaction, so a killed migration leaves no lock. Waited for without a
    # limit: only another migration holds it, and nothing else waits behind this one.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
    revision = current_revision(connection)
    if _is_unknown(revision):
        log.warning("the database is newer than this code", revision=revision)
    else:
        command.upgrade(alembic_config(connection), "head")
    return current_revision(connection) or "none"


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
