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
from sqlalchemy import Connection, Engine, create_engine, exc, inspect, text
from sqlalchemy.schema import CreateSchema

from shared.database.session import (
    CONNECT_TIMEOUT_SECONDS,
    refusals_named,
    reporting_unavailability,
    search_path_of,
)
from shared.errors import SchemaConflict, ServiceUnavailable
from shared.jobs.access_tables import ApiKey
from shared.jobs.queue_tables import WorkerSlots
from shared.jobs.webhook_tables import Webhook

log = structlog.get_logger(__name__)

_FOLDER = Path(__file__).parent / "migrations"

VERSION_TABLE = "darkroom_alembic_version"
"""Holds the revision, apart from the history of another application in the same schema."""

_FIRST_VERSION_TABLE = "alembic_version"
"""Held the revision in release 0.1.0, as it does by default in any application."""

# The name of its key is that of an index, which another application's table needs.
_RENAME_VERSION_TABLE = """
ALTER TABLE {schema}.alembic_version RENAME CONSTRAINT alembic_version_pkc
    TO darkroom_alembic_version_pkc;
ALTER TABLE {schema}.alembic_version RENAME TO darkroom_alembic_version
"""

_OUR_COLUMNS = text(
    "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema()"
    " AND (table_name, column_name) IN"
    " (('generation_jobs', 'lease_token'), ('generation_attempts', 'charge_state'))"
)

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


def migrate(database_url: str, schema: str | None = None, *, lock_tries: int = LOCK_TRIES) -> str:
    """Apply what is missing, one process at a time, and return the revision reached.

    A database that a newer release has migrated is left as it is: each release works with the
    schema of the next one, so that one can be rolled back. Tables and the Alembic history of
    another application are never touched.

    A table that is in use for long is not waited for, because all other statements would queue
    behind the migration. It is undone, and tried again after a pause.

    Args:
        database_url: Of the database.
        schema: DATABASE_SCHEMA; made if it does not exist.
        lock_tries: How often it is tried while tables are in use.

    Raises:
        ConfigurationError: PostgreSQL refuses, say for want of a permission.
        SchemaConflict: The schema holds tables of another application, or not all of ours.
        ServiceUnavailable: PostgreSQL cannot be reached, or a table was in use at each try.
    """
    engine = create_engine(
        database_url,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS},
    )
    try:
        for number in range(1, lock_tries + 1):
            revision = _try_to_migrate(engine, schema)
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


def _try_to_migrate(engine: Engine, schema: str | None) -> str | None:
    """Return the revision reached; None if a table was in use, and nothing was changed."""
    try:
        with refusals_named(), reporting_unavailability(), engine.begin() as connection:
            return _upgrade(connection, schema)
    except ServiceUnavailable as error:
        cause = error.__cause__
        if isinstance(cause, exc.DBAPIError) and isinstance(cause.orig, _IN_THE_WAY):
            return None
        raise


def _upgrade(connection: Connection, schema: str | None) -> str:
    # Released with the transaction, so a killed migration leaves no lock. Waited for without a
    # limit: only another migration holds it, and nothing else waits behind this one.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
    if schema is not None:
        _use_schema(connection, schema)
    _rename_version_table(connection)
    revision = current_revision(connection)
    if revision is None:
        _refuse_foreign_tables(connection)
    elif not _has_our_tables(connection):
        raise SchemaConflict(
            f"PostgreSQL: {VERSION_TABLE} is at revision {revision}, but the tables of Darkroom "
            "are missing; restore them, or drop that table to create them anew"
        )
    if revision is not None and not _is_known(revision):
        log.warning("the database is newer than this code", revision=revision)
    else:
        command.upgrade(alembic_config(connection), "head")
    return current_revision(connection) or "none"


def _use_schema(connection: Connection, schema: str) -> None:
    # Where it exists, the user needs no right to make one.
    if not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
    connection.execute(text(search_path_of(schema)))


def _rename_version_table(connection: Connection) -> None:
    """Give the version table of the first release its own name."""
    if _is_of_first_release(connection):
        schema = connection.dialect.identifier_preparer.quote(current_schema(connection))
        connection.execute(text(_RENAME_VERSION_TABLE.format(schema=schema)))


def _is_of_first_release(connection: Connection) -> bool:
    """Return whether Alembic's table of the default name holds the revision of our tables."""
    has_own = inspect(connection).has_table(VERSION_TABLE, current_schema(connection))
    if has_own or not _has_our_tables(connection):
        return False
    heads = _context(connection, _FIRST_VERSION_TABLE).get_current_heads()
    return len(heads) == 1 and _is_known(heads[0])


def _refuse_foreign_tables(connection: Connection) -> None:
    schema = current_schema(connection)
    standing = {*inspect(connection).get_table_names(schema)}
    ours = {name for table in (ApiKey, WorkerSlots, Webhook) for name in table.metadata.tables}
    taken = sorted(standing & ours)
    if taken:
        raise SchemaConflict(
            f"PostgreSQL: the schema {schema} already holds tables of other programs: "
            f"{', '.join(taken)}; give Darkroom a database or a schema of its own"
        )


def _has_our_tables(connection: Connection) -> bool:
    return bool(connection.scalar(_OUR_COLUMNS) == 2)


def current_schema(connection: Connection) -> str:
    """Return the schema in which tables are created.

    Raises:
        SchemaConflict: The search path names none that exists.
    """
    schema = connection.scalar(text("SELECT current_schema()"))
    if schema is None:
        raise SchemaConflict("PostgreSQL: no schema of the connection's search_path exists")
    return str(schema)


def alembic_config(connection: Connection) -> Config:
    """Return the configuration under which Alembic works on this connection."""
    config = _config()
    config.attributes["connection"] = connection
    return config


def current_revision(connection: Connection) -> str | None:
    """Return the revision that the database is at, or None before the first."""
    table = _FIRST_VERSION_TABLE if _is_of_first_release(connection) else VERSION_TABLE
    return _context(connection, table).get_current_revision()


def _context(connection: Connection, version_table: str) -> MigrationContext:
    options = {"version_table": version_table, "version_table_schema": current_schema(connection)}
    return MigrationContext.configure(connection, opts=options)


def newest_revision() -> str | None:
    """Return the revision that this code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    # A percent sign in the path would be taken for interpolation by configparser.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _is_known(revision: str) -> bool:
    try:
        ScriptDirectory.from_config(_config()).get_revision(revision)
    except CommandError:
        return False
    return True
