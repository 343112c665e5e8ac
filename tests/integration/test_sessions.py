"""Connections to PostgreSQL: one unit of work each, bounded, replaced when dead."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from devkit.stack import EmbeddedPostgres, private_folder
from shared.database.bounds import PAUSE_SECONDS, STATEMENT_SECONDS
from shared.database.session import (
    CONNECT_TIMEOUT_SECONDS,
    IDLE_SECONDS_BEFORE_CHECK,
    create_pooled_engine,
    create_unpooled_engine,
    get_db_context,
)
from shared.database.statements import fetch_all
from shared.errors import ServiceUnavailable
from shared.jobs.tables import Workspace
from tests.support.builders import build_settings
from tests.support.database import Database
from tests.support.wait import wait_until


@contextmanager
def engine_of(url: str, name: str) -> Iterator[Engine]:
    """Make an engine for a test that breaks its connections."""
    engine = create_pooled_engine(build_settings(url).database_url, name)
    try:
        yield engine
    finally:
        engine.dispose()


def backend_pid(engine: Engine) -> int:
    """Return the server process of the connection that the engine uses next."""
    [row] = fetch_all(engine, "SELECT pg_backend_pid() AS pid", {})
    assert row is not None
    pid: int = row.pid
    return pid


def connections_of(database: Database, name: str) -> int:
    """Return how many connections an application has."""
    return len(
        database.fetch("SELECT 1 FROM pg_stat_activity WHERE application_name = %(n)s", n=name)
    )


def test_a_unit_of_work_is_committed_at_its_end(engine: Engine, database: Database) -> None:
    """Others see it after the block, and not before."""
    with get_db_context(engine) as session:
        session.add(Workspace(id="north", name="North"))
        session.flush()
        assert database.fetch("SELECT 1 FROM workspaces WHERE id = 'north'") == []
    assert len(database.fetch("SELECT 1 FROM workspaces WHERE id = 'north'")) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_unit_of_work_is_rolled_back_on_any_error(
    engine: Engine, database: Database, error: type[BaseException]
) -> None:
    """Nothing of it stays, and the error passes through."""

    def work() -> None:
        with get_db_context(engine) as session:
            session.add(Workspace(id="north", name="North"))
            session.flush()
            raise error

    with pytest.raises(error):
        work()
    assert database.fetch("SELECT 1 FROM workspaces WHERE id = 'north'") == []


def test_a_transaction_does_not_stay_with_the_connection(engine: Engine) -> None:
    """After a unit of work the same connection commits each statement by itself again."""
    with get_db_context(engine) as session:
        session.scalar(select(func.count()).select_from(Workspace))
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        assert driver.autocommit


def test_every_connection_is_bounded_in_time(engine: Engine, database: Database) -> None:
    """Statements, locks and idle transactions; times are UTC."""
    sql = "SELECT current_setting(%(name)s) AS value"
    values = {
        name: fetch_all(engine, sql, {"name": name})[0].value
        for name in (
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "timezone",
        )
    }
    assert list(values.values()) == ["5s", "2s", "10s", "UTC"]


def test_a_statement_that_takes_too_long_is_service_unavailable(engine: Engine) -> None:
    """psycopg2 itself cannot be interrupted, so the server must."""
    slow = "SET statement_timeout = '50ms'; SELECT pg_sleep(20)"
    with pytest.raises(ServiceUnavailable, match="statement timeout"):
        fetch_all(engine, slow, {})
    engine.dispose()


def test_a_connection_that_died_while_idle_is_replaced(
    database: Database, database_url: str
) -> None:
    """A sandbox that was frozen, or a worker that waited, does not fail its next job."""
    with engine_of(database_url, "idle-test") as engine:
        pid = backend_pid(engine)
        idle_since = time.monotonic()
        database.fetch("SELECT pg_terminate_backend(%(pid)s)", pid=pid)
        wait_until(
            lambda: time.monotonic() - idle_since > IDLE_SECONDS_BEFORE_CHECK + 0.05,
            5,
            "the connection to count as idle",
        )
        assert backend_pid(engine) != pid


def test_a_connection_that_dies_in_use_is_service_unavailable(
    database: Database, database_url: str
) -> None:
    """The caller repeats; the next use connects anew."""
    with engine_of(database_url, "busy-test") as engine:
        pid = backend_pid(engine)
        database.fetch("SELECT pg_terminate_backend(%(pid)s)", pid=pid)
        wait_until(lambda: not connections_of(database, "busy-test"), 5, "the backend to end")
        with pytest.raises(ServiceUnavailable, match="PostgreSQL: "):
            backend_pid(engine)
        assert backend_pid(engine) != pid


def test_a_process_that_runs_jobs_has_three_connections_at_most(
    database: Database, database_url: str
) -> None:
    """Two are kept; a fourth user gets ServiceUnavailable."""
    with engine_of(database_url, "pool-test") as engine:
        held = [engine.connect() for _ in range(3)]
        assert connections_of(database, "pool-test") == 3
        for connection in held:
            connection.close()
        wait_until(lambda: connections_of(database, "pool-test") == 2, 5, "one to be closed")


def test_an_unpooled_engine_keeps_no_connection(database: Database, database_url: str) -> None:
    """A process that forks has nothing to pass on to its children."""
    engine = create_unpooled_engine(build_settings(database_url).database_url, "unpooled-test")
    assert len(fetch_all(engine, "SELECT 1", {})) == 1
    wait_until(lambda: not connections_of(database, "unpooled-test"), 5, "it to be closed")


def test_a_server_that_is_down_is_reported_without_its_password() -> None:
    """One error for all the driver's ways to say it."""
    with private_folder() as folder:
        server = EmbeddedPostgres(folder / "postgres")
        url = server.url
        with engine_of(url, "down-test") as engine, pytest.raises(ServiceUnavailable) as caught:
            fetch_all(engine, "SELECT 1", {})
    password = url.partition("://darkroom:")[2].partition("@")[0]
    assert password
    assert password not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_failover_to_a_read_only_server_is_service_unavailable(
    database: Database, database_url: str
) -> None:
    """The old primary refuses writes for a while, with an error class of its own."""
    with engine_of(database_url, "read-only-test") as engine:
        fetch_all(engine, "SET default_transaction_read_only = on", {})
        with pytest.raises(ServiceUnavailable, match="read-only transaction"):
            fetch_all(engine, "DELETE FROM generation_jobs", {})


def test_a_statement_that_is_wrong_is_not_service_unavailable(engine: Engine) -> None:
    """A fault of ours is not repeated until the deadline."""
    for wrong in ("SELECT no_such_column FROM workspaces", "SELECT 1/0"):
        with pytest.raises(SQLAlchemyError):
            fetch_all(engine, wrong, {})


@pytest.fixture
def hanging(postgres: EmbeddedPostgres, engine: Engine) -> Iterator[Engine]:
    """Give connections, one of them just used, to a server that has stopped to answer."""
    fetch_all(engine, "SELECT 1", {})
    postgres.pause()
    try:
        yield engine
    finally:
        resume(postgres, engine)


def resume(postgres: EmbeddedPostgres, engine: Engine) -> None:
    """Let a server answer again, and wait until it is used."""
    postgres.resume()

    def answers() -> bool:
        try:
            return bool(fetch_all(engine, "SELECT 1", {}))
        except ServiceUnavailable:
            return False

    wait_until(answers, CONNECT_TIMEOUT_SECONDS + PAUSE_SECONDS + 1, "PostgreSQL to be used again")


def seconds_to_fail(engine: Engine) -> float:
    """Return how long a statement takes to say that PostgreSQL is unavailable."""
    began_at = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        fetch_all(engine, "SELECT 1", {})
    return time.monotonic() - began_at


def test_a_server_that_hangs_is_given_up(hanging: Engine, postgres: EmbeddedPostgres) -> None:
    """The statement within its bound, the next connection within its timeout, others at once."""
    assert seconds_to_fail(hanging) < STATEMENT_SECONDS + 1
    assert seconds_to_fail(hanging) < CONNECT_TIMEOUT_SECONDS + 1
    assert seconds_to_fail(hanging) < 0.5
    resume(postgres, hanging)


def test_one_connection_is_tried_at_a_time_while_a_server_hangs(hanging: Engine) -> None:
    """The others fail at once: requests do not wait one behind the other."""
    for _ in range(2):
        seconds_to_fail(hanging)
    with ThreadPoolExecutor(8) as pool:
        seconds = sorted(pool.map(lambda _number: seconds_to_fail(hanging), range(8)))
    assert seconds[-2] < 1


def test_a_transaction_on_a_server_that_hangs_is_given_up(
    engine: Engine, postgres: EmbeddedPostgres
) -> None:
    """Its commit has no timeout of the server either."""
    paused_at = []

    def commit() -> None:
        with get_db_context(engine) as session:
            session.execute(select(func.now()))
            postgres.pause()
            paused_at.append(time.monotonic())

    try:
        with pytest.raises(ServiceUnavailable):
            commit()
    finally:
        resume(postgres, engine)
    assert time.monotonic() - paused_at[0] < 2 * STATEMENT_SECONDS + 1


def test_a_forked_child_is_bounded_too(engine: Engine, postgres: EmbeddedPostgres) -> None:
    """It has none of the threads of its parent."""
    fetch_all(engine, "SELECT 1", {})
    pid = os.fork()
    if not pid:
        engine.dispose(close=False)
        fetch_all(engine, "SELECT 1", {})
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            fetch_all(engine, "SELECT 1", {})
        except ServiceUnavailable:
            os._exit(0)
        os._exit(1)
    os.waitpid(pid, os.WUNTRACED)
    postgres.pause()
    try:
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: os.waitpid(pid, os.WNOHANG) == (pid, 0), 12, "the child to give up")
    finally:
        resume(postgres, engine)
