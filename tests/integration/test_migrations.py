"""Migrations against PostgreSQL: up, down, up again, and by several processes at once."""

import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, NullPool, create_engine, inspect, text

from local.stack import EmbeddedPostgres
from shared.errors import ServiceUnavailable
from shared.jobs.migrate import alembic_config, current_revision, migrate, newest_revision
from shared.jobs.tables import Base
from tests.support.builders import build_settings

MIGRATE = "import sys; from shared.jobs.migrate import migrate; print(migrate(sys.argv[1]))"


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


def tables_of(engine: Engine) -> set[str]:
    """Return the names of the tables."""
    with engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def test_an_empty_database_gets_every_table(url: str, empty: Engine) -> None:
    """And the revision that the code needs; a second run changes nothing."""
    assert migrate(url) == newest_revision() == migrate(url)
    assert tables_of(empty) == {*Base.metadata.tables, "alembic_version"}
    with empty.connect() as connection:
        assert current_revision(connection) == newest_revision()


def test_a_database_of_a_newer_release_is_left_as_it_is(url: str, empty: Engine) -> None:
    """So that the release before can be put back without touching the data."""
    migrate(url)
    tables = tables_of(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert migrate(url) == "9999"
    assert tables_of(empty) == tables


def test_the_migrated_database_is_the_one_that_the_code_describes(url: str, empty: Engine) -> None:
    """Columns, types, defaults, indexes, keys: Alembic finds no difference."""
    migrate(url)
    with empty.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_every_check_of_the_code_is_in_the_database(url: str, empty: Engine) -> None:
    """Alembic does not compare these."""
    migrate(url)
    declared = {
        constraint.name
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    with empty.connect() as connection:
        rows = connection.execute(text("SELECT conname FROM pg_constraint WHERE contype = 'c'"))
        assert {name for (name,) in rows if name.startswith("ck_")} == declared


def test_there_is_a_workspace_to_begin_with(url: str, empty: Engine) -> None:
    """Jobs of nobody in particular belong to it."""
    migrate(url)
    with empty.connect() as connection:
        rows = connection.execute(text("SELECT id, name FROM workspaces")).all()
    assert [tuple(row) for row in rows] == [("default", "Default")]


def test_a_migration_can_be_taken_back(url: str, empty: Engine) -> None:
    """Down to nothing, and up again."""
    migrate(url)
    with empty.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert tables_of(empty) == {"alembic_version"}
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
    assert len(tables_of(empty)) == len(Base.metadata.tables) + 1


def test_a_database_that_is_away_is_named(postgres: EmbeddedPostgres) -> None:
    """With the error of every other use of it."""
    with pytest.raises(ServiceUnavailable, match='database "nowhere" does not exist'):
        migrate(build_settings(postgres.url_of("nowhere")).database_url)
