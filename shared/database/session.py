"""Connections to PostgreSQL: the engines, and the only way to a session."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg2
import psycopg2.errors
from sqlalchemy import Engine, NullPool, create_engine, event, exc
from sqlalchemy.orm import Session

from shared.database.bounds import CHECK_SECONDS, BoundedConnection, BoundedCursor, Breaker
from shared.errors import ConfigurationError, SchemaMissing, ServiceUnavailable, one_line

STATEMENT_TIMEOUT_SECONDS = 5
LOCK_TIMEOUT_SECONDS = 2
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS = 10
CONNECT_TIMEOUT_SECONDS = 3

_CONNECT_ARGUMENTS = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "connection_factory": BoundedConnection,
    "cursor_factory": BoundedCursor,
}

# Sent as a statement and not as libpq's `options`, which RDS Proxy and pgbouncer refuse.
_SESSION_LIMITS = (
    f"SET statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s';"
    f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s';"
    f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s';"
    "SET timezone = 'UTC'"
)

IDLE_SECONDS_BEFORE_CHECK = 1.0

# SQLAlchemy wraps what statements raise, but not what setting up a connection does: our session
# limits, and its own change of the isolation level.
_UNAVAILABLE = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.TimeoutError,
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
)


def create_pooled_engine(
    database_url: str, application_name: str, size: int = 2, schema: str | None = None
) -> Engine:
    """Return an engine for a process that runs jobs: one connection to work, one for leases.

    The API has a `size` of its own: a connection for each of its threads. `schema` is
    DATABASE_SCHEMA.

    Connections that lay idle for a second (an idle worker, a thawed sandbox) are checked before
    use and replaced when dead; in a busy worker that check would cost as much as a statement.
    """
    engine = create_engine(
        database_url,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        pool_size=size,
        max_overflow=1,
        pool_timeout=5,
        pool_use_lifo=True,
        connect_args={**_CONNECT_ARGUMENTS, "application_name": application_name},
    )
    _prepare(engine, schema)
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", _check_if_idle)
    return engine


def create_unpooled_engine(
    database_url: str, application_name: str, schema: str | None = None
) -> Engine:
    """Return an engine that connects anew each time, for processes that fork."""
    engine = create_engine(
        database_url,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        poolclass=NullPool,
        connect_args={**_CONNECT_ARGUMENTS, "application_name": application_name},
    )
    _prepare(engine, schema)
    return engine


@contextmanager
def get_db_context(engine: Engine) -> Iterator[Session]:
    """Open a session for one unit of work: committed at the end, rolled back on any error.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    transactional = engine.execution_options(isolation_level="READ COMMITTED")
    with reporting_unavailability(), Session(transactional) as session, session.begin():
        yield session


@contextmanager
def reporting_unavailability() -> Iterator[None]:
    """Turn the driver's many ways to say "not now" into ServiceUnavailable.

    Covers lost and refused connections, statement and lock timeouts, an exhausted pool, and a
    server that takes no writes.
    Whether the statement took effect is then unknown: repeat only what may be repeated.
    """
    try:
        yield
    except (exc.SQLAlchemyError, psycopg2.Error) as error:
        if not _means_not_now(error):
            raise
        cause = getattr(error, "orig", None) or error
        raise ServiceUnavailable(one_line(f"PostgreSQL: {cause}")) from error


@contextmanager
def refusals_named() -> Iterator[None]:
    """Turn what PostgreSQL refuses (a missing table, a missing right) into ConfigurationError."""
    try:
        yield
    except exc.ProgrammingError as error:
        reason = str(error.orig).partition("\n")[0]
        line = one_line(f"PostgreSQL: {reason} (was `darkroom migrate` run?)")
        raise ConfigurationError(line) from error


@contextmanager
def naming_missing_schema() -> Iterator[None]:
    """Turn a table or a column that PostgreSQL does not know into SchemaMissing."""
    try:
        yield
    except exc.ProgrammingError as error:
        reason = str(error.orig).partition("\n")[0]
        line = one_line(f"PostgreSQL: {reason} (was `darkroom migrate` run?)")
        raise SchemaMissing(line) from error


def _means_not_now(error: Exception) -> bool:
    if isinstance(error, exc.DBAPIError):
        # The server of old takes no writes during a failover: to psycopg2, an InternalError.
        is_read_only = isinstance(error.orig, psycopg2.errors.ReadOnlySqlTransaction)
        if is_read_only or error.connection_invalidated:
            return True
    return isinstance(error, _UNAVAILABLE)


def search_path_of(schema: str | None) -> str:
    """Return the statement that makes a session use DATABASE_SCHEMA; empty for None."""
    return "" if schema is None else f'SET search_path = "{schema}"'


def _prepare(engine: Engine, schema: str | None) -> None:
    breaker = Breaker(CONNECT_TIMEOUT_SECONDS)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        return breaker.connect(*arguments, **options)

    event.listen(
        engine, "connect", partial(_set_up_session, f"{_SESSION_LIMITS};{search_path_of(schema)}")
    )


def _set_up_session(statements: str, connection: Any, _record: Any) -> None:
    was_autocommit = connection.autocommit
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.seconds = CHECK_SECONDS
        cursor.execute(statements)
    connection.autocommit = was_autocommit


def _note_return(_connection: Any, record: Any) -> None:
    record.info["returned_at"] = time.time()


def _check_if_idle(connection: Any, record: Any, _proxy: Any) -> None:
    returned_at = record.info.get("returned_at")
    if returned_at is None or abs(time.time() - returned_at) < IDLE_SECONDS_BEFORE_CHECK:
        return
    try:
        with connection.cursor() as cursor:
            cursor.seconds = CHECK_SECONDS
            cursor.execute("SELECT 1")
    except connection.Error as error:
        raise exc.DisconnectionError from error
