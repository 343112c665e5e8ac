"""What all tests share: a clean environment, and one PostgreSQL and one Redis for the session."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from devkit.runtimes import RUNTIMES
from devkit.stack import EmbeddedPostgres, EmbeddedRedis, Stack, embedded_stack
from shared.jobs.migration import migrate
from shared.settings import Settings
from tests.support.builders import build_settings

if TYPE_CHECKING:
    from tests.support.runtime import Runtime

TEMPLATE = "migrated"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process have all tests of a runtime, or of a module, when several share the work.

    First of all who see the tests: xdist reads the mark when its own turn comes.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group_of(item)))


def _group_of(item: pytest.Item) -> str:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    fixtures = getattr(item, "fixturenames", ())
    module = item.nodeid.partition("::")[0]
    if "runtime" in parameters and "runtime_named" in fixtures:
        return str(parameters["runtime"])
    for name in ("runtime", "module_runtime"):
        if name in parameters:
            return f"{module}:{parameters[name]}"
    for name in RUNTIMES:
        if f"{name}_runtime" in fixtures:
            return name
    return module


@pytest.fixture(autouse=True, scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take the developer's own settings out of the environment.

    A process that a test kills cannot delete its temporary files: they go with a folder. What
    pytest keeps of failed tests stays where it is.
    """
    tmp_path_factory.getbasetemp()
    with TemporaryDirectory(prefix="tests-") as folder, pytest.MonkeyPatch.context() as patch:
        # Root's PostgreSQL runs under another account, which must get through.
        Path(folder).chmod(0o711)
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        for name in (*os.environ,):
            if name.lower() in Settings.model_fields or name.startswith("AWS_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def servers() -> Iterator[Stack]:
    """Give PostgreSQL and Redis, embedded, for the whole session."""
    with embedded_stack() as stack:
        yield stack


@pytest.fixture(scope="session")
def postgres(servers: Stack) -> EmbeddedPostgres:
    """Give the session's PostgreSQL, with a migrated database as a template."""
    assert servers.postgres is not None
    migrate(build_settings(servers.postgres.create_database(TEMPLATE)).database_url)
    return servers.postgres


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of a migrated database that this module has for itself."""
    name = request.module.__name__.rpartition(".")[2]
    yield postgres.create_database(name, template=TEMPLATE)
    postgres.drop_database(name)


@pytest.fixture
def redis_server(servers: Stack) -> Iterator[EmbeddedRedis]:
    """Give the session's Redis, empty; running again afterwards, whatever the test did to it."""
    assert servers.redis is not None
    with closing(Redis.from_url(servers.redis.url)) as client:
        client.flushall()
    yield servers.redis
    if servers.redis.is_running:
        servers.redis.resume()
    servers.redis.start()


@pytest.fixture
def settings(database_url: str, redis_server: EmbeddedRedis) -> Settings:
    """Give settings that name the module's database and an empty Redis."""
    return build_settings(database_url, redis_server.url)


@pytest.fixture(scope="session")
def runtime_named(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], "Runtime"]]:
    """Give each runtime by its name: made at its first use, kept to the end of the session."""
    from tests.support.runtime import Runtime  # most tests need no runtime, nor what it imports

    made: dict[str, Runtime] = {}

    def named(name: str) -> Runtime:
        if name not in made:
            made[name] = Runtime(name, tmp_path_factory.mktemp(name))
        return made[name]

    yield named
    for runtime in made.values():
        runtime.close()
