"""Migrations against PostgreSQL: up, down, up again, and by several processes at once."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, NullPool, create_engine, inspect, text

from devkit.stack import EmbeddedPostgres
from shared.database.session import LOCK_TIMEOUT_SECONDS as PATIENCE_OF_OTHERS_SECONDS
from shared.database.session import create_pooled_engine
from shared.database.statements import fetch_all
from shared.errors import SchemaConflict, ServiceUnavailable
from shared.jobs.migration import (
    LOCK_TIMEOUT_SECONDS,
    MIGRATION_LOCK,
    VERSION_TABLE,
    alembic_config,
    current_revision,
    migrate,
    newest_revision,
)
from shared.jobs.queue_tables import WorkerSlots
from tests.support.builders import build_settings
from tests.support.wait import wait_until

MIGRATE = "import sys; from shared.jobs.migration import migrate; print(migrate(sys.argv[1]))"

AS_IN_THE_FIRST_RELEASE = """
ALTER TABLE darkroom_alembic_version RENAME CONSTRAINT darkroom_alembic_version_pkc
    TO alembic_version_pkc;
ALTER TABLE darkroom_alembic_version RENAME TO alembic_version
"""

SHOP_HISTORY = """
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES ('{revision}')
"""
"""As Alembic keeps it for an application that says nothing else."""


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Give the address of an empty database."""
    name = f"migrations-{uuid4().hex[:8]}"
    yield build_settings(postgres.create_database(name)).database_url
    postgres.drop_database(name)


@pytest.fixture
def empty(url: str) -> Engine:
    """Give connections to the empty database."""
    return create_engine(url, poolclass=NullPool)


@pytest.fixture
def older(url: str, empty: Engine) -> str:
    """Give the address of a database whose next migration changes the table of jobs."""
    with empty.begin() as connection:
        command.upgrade(alembic_config(connection), "0005")
    return url


@contextmanager
def reading_jobs(engine: Engine) -> Iterator[int]:
    """Keep a transaction open that has read the table of jobs, as pg_dump does; yield its pid."""
    with engine.begin() as connection:
        connection.execute(text("SELECT count(*) FROM generation_jobs"))
        yield connection.scalar(text("SELECT pg_backend_pid()")) or 0


def waits_behind(engine: Engine, pid: int) -> bool:
    """Return whether anybody waits for what this session has locked."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY (pg_blocking_pids(pid))"
    with engine.connect() as connection:
        return bool(connection.scalar(text(sql), {"pid": pid}))


def tables_of(engine: Engine) -> set[str]:
    """Return the names of the tables."""
    with engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def shop_revision(engine: Engine) -> str:
    """Return the revision that another application's history is at."""
    with engine.connect() as connection:
        return str(connection.scalar(text("SELECT version_num FROM public.alembic_version")))


def test_an_empty_database_gets_every_table(url: str, empty: Engine) -> None:
    """And the revision that the code needs; a second run changes nothing."""
    assert migrate(url) == newest_revision() == migrate(url)
    assert tables_of(empty) == {*WorkerSlots.metadata.tables, VERSION_TABLE}
    with empty.connect() as connection:
        assert current_revision(connection) == newest_revision()


def test_a_database_of_a_newer_release_is_left_as_it_is(url: str, empty: Engine) -> None:
    """So that the release before can be put back without touching the data."""
    migrate(url)
    tables = tables_of(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE darkroom_alembic_version SET version_num = '9999'"))
    assert migrate(url) == "9999"
    assert tables_of(empty) == tables


@pytest.mark.parametrize("revision", ["0005", "head"])
def test_the_version_table_of_the_first_release_is_renamed(
    url: str, empty: Engine, revision: str
) -> None:
    """Its revision was read from the old one; the name is free for the shop's own history."""
    with empty.begin() as connection:
        command.upgrade(alembic_config(connection), revision)
        connection.execute(text(AS_IN_THE_FIRST_RELEASE))
        found = current_revision(connection)
        assert found == (newest_revision() if revision == "head" else revision)
    assert migrate(url) == newest_revision()
    assert tables_of(empty) == {*WorkerSlots.metadata.tables, VERSION_TABLE}
    with empty.begin() as connection:
        connection.execute(text(SHOP_HISTORY.format(revision="0007")))
    assert migrate(url) == newest_revision()
    assert shop_revision(empty) == "0007"


@pytest.mark.parametrize("revision", ["ae1027a6acf", "0007"])
def test_the_history_of_another_application_is_left_alone(
    url: str, empty: Engine, revision: str
) -> None:
    """Whatever its revisions are called; ours is kept beside it."""
    with empty.begin() as connection:
        connection.execute(text(SHOP_HISTORY.format(revision=revision)))
    assert migrate(url) == newest_revision() == migrate(url)
    assert shop_revision(empty) == revision
    assert tables_of(empty) == {*WorkerSlots.metadata.tables, VERSION_TABLE, "alembic_version"}


def test_tables_of_the_same_names_are_refused_and_kept(url: str, empty: Engine) -> None:
    """One line names them, and nothing was created."""
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE products (id int); CREATE TABLE users (id int)"))
    with pytest.raises(
        SchemaConflict, match=r"the schema public already .*: products, users; give"
    ):
        migrate(url)
    assert tables_of(empty) == {"products", "users"}


def test_tables_in_another_schema_are_left_alone(url: str, empty: Engine) -> None:
    """Also those that the search path would find, and the history there."""
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE products (id int); CREATE TABLE previews (id int)"))
        connection.execute(text(SHOP_HISTORY.format(revision="0007")))
        connection.execute(text("CREATE SCHEMA pictures"))
    beside = f"{url}&options=-csearch_path%3Dpictures%2Cpublic"
    assert migrate(beside) == newest_revision() == migrate(beside)
    assert shop_revision(empty) == "0007"
    assert tables_of(empty) == {"products", "previews", "alembic_version"}
    with empty.connect() as connection:
        ours = set(inspect(connection).get_table_names("pictures"))
    assert ours == {*WorkerSlots.metadata.tables, VERSION_TABLE}


def test_a_schema_of_its_own_is_made_and_used(url: str, empty: Engine) -> None:
    """DATABASE_SCHEMA, whatever its characters: the tables around it are not looked at."""
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE users (id int)"))
        connection.execute(text(SHOP_HISTORY.format(revision="0007")))
    for schema in ("dark-room", "Second"):
        assert migrate(url, schema) == newest_revision() == migrate(url, schema)
        with empty.connect() as connection:
            ours = set(inspect(connection).get_table_names(schema))
        assert ours == {*WorkerSlots.metadata.tables, VERSION_TABLE}
    assert shop_revision(empty) == "0007"
    assert tables_of(empty) == {"users", "alembic_version"}


@pytest.mark.parametrize("revision", ["9999", "0007"])
def test_a_revision_without_its_tables_is_refused(url: str, empty: Engine, revision: str) -> None:
    """It says nothing about the tables; a newer release is believed only where ours stand."""
    with empty.begin() as connection:
        connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num varchar(32))"))
        connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES ('{revision}')"))
    with pytest.raises(SchemaConflict, match=f"at revision {revision}, but the tables"):
        migrate(url)
    assert tables_of(empty) == {VERSION_TABLE}


def test_the_migrated_database_is_the_one_that_the_code_describes(url: str, empty: Engine) -> None:
    """Columns, types, defaults, indexes, keys: Alembic finds no difference."""
    migrate(url)
    with empty.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "include_name": lambda name, *_: name != VERSION_TABLE,
            },
        )
        assert compare_metadata(context, WorkerSlots.metadata) == []


def test_every_check_of_the_code_is_in_the_database(url: str, empty: Engine) -> None:
    """Alembic does not compare these."""
    migrate(url)
    declared = {
        constraint.name
        for table in WorkerSlots.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    with empty.connect() as connection:
        rows = connection.execute(text("SELECT conname FROM pg_constraint WHERE contype = 'c'"))
        assert {name for (name,) in rows if name.startswith("ck_")} == declared


def test_there_is_a_workspace_to_begin_with(url: str, empty: Engine) -> None:
    """Jobs without a workspace of their own belong to it."""
    migrate(url)
    with empty.connect() as connection:
        rows = connection.execute(text("SELECT id, name FROM workspaces")).all()
    assert [tuple(row) for row in rows] == [("default", "Default")]


def test_a_migration_can_be_taken_back(url: str, empty: Engine) -> None:
    """Down to nothing, and up again."""
    migrate(url)
    with empty.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert tables_of(empty) == {VERSION_TABLE}
    with empty.connect() as connection:
        assert current_revision(connection) is None
        left = text("SELECT typname FROM pg_type WHERE typname = 'job_status'")
        assert connection.execute(left).all() == []
    assert migrate(url) == newest_revision()


def test_several_processes_may_migrate_at_once(url: str, empty: Engine) -> None:
    """One works, the others wait and find it done."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in running:
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output.strip()) == (0, newest_revision()), errors
    assert len(tables_of(empty)) == len(WorkerSlots.metadata.tables) + 1


def test_a_database_that_is_down_is_named(postgres: EmbeddedPostgres) -> None:
    """With the error of every other use of it."""
    with pytest.raises(ServiceUnavailable, match='database "nowhere" does not exist'):
        migrate(build_settings(postgres.url_of("nowhere")).database_url)


def test_a_table_in_use_is_migrated_when_it_is_free(older: str, empty: Engine) -> None:
    """The migration steps back and tries again by itself."""
    with ThreadPoolExecutor(2) as threads:
        with reading_jobs(empty) as pid:
            both = [threads.submit(migrate, older) for _ in range(2)]
            wait_until(lambda: waits_behind(empty, pid), 10, "a migration to wait")
            wait_until(lambda: not waits_behind(empty, pid), 10, "the migration to step back")
            assert not any(one.done() for one in both)
        assert [one.result(30) for one in both] == [newest_revision()] * 2


def test_a_migration_that_waits_for_a_table_lets_others_use_it(older: str, empty: Engine) -> None:
    """Who comes behind it, with the limits of every process of ours, is served."""
    assert LOCK_TIMEOUT_SECONDS < PATIENCE_OF_OTHERS_SECONDS
    others = create_pooled_engine(older, "darkroom-test")
    with ThreadPoolExecutor(1) as threads, reading_jobs(empty) as pid:
        migration = threads.submit(migrate, older, lock_tries=2)
        for _ in range(2):
            wait_until(lambda: waits_behind(empty, pid), 10, "the migration to wait")
            assert fetch_all(others, "SELECT count(*) FROM generation_jobs", {}) == [(0,)]
        assert isinstance(migration.exception(30), ServiceUnavailable)
    others.dispose()


def test_a_migration_that_never_gets_its_table_says_so_in_one_line(
    older: str, empty: Engine
) -> None:
    """It has changed nothing by then, and lets the next one try."""
    with reading_jobs(empty), pytest.raises(ServiceUnavailable) as caught:
        migrate(older, lock_tries=1)
    message = str(caught.value)
    assert "a long transaction used one of its tables at each of 1 tries" in message
    assert "\n" not in message
    with empty.connect() as connection:
        assert current_revision(connection) == "0005"
    assert migrate(older) == newest_revision()


def test_another_migration_is_waited_for_however_long_it_takes(older: str, empty: Engine) -> None:
    """Its lock is not one of those that are given up."""
    with ThreadPoolExecutor(1) as threads:
        with empty.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            pid = connection.scalar(text("SELECT pg_backend_pid()")) or 0
            migration = threads.submit(migrate, older, lock_tries=1)
            wait_until(lambda: waits_behind(empty, pid), 10, "the migration to wait")
            with pytest.raises(TimeoutError):
                migration.result(2 * LOCK_TIMEOUT_SECONDS)
        assert migration.result(30) == newest_revision()
