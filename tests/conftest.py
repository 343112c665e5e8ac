"""What all tests share: a clean environment, and one PostgreSQL and one Redis for the session."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from redis import Redis

from local.stack import EmbeddedPostgres, EmbeddedRedis, EmbeddedStack
from shared.jobs.migrate import migrate
from shared.settings import Settings
from tests.support.builders import build_settings

TEMPLATE = "migrated"


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> Iterator[None]:
    """Take the developer's own settings out of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*os.environ,):
            if name.lower() in Settings.model_fields or name.startswith("AWS_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedStack]:
    """Give PostgreSQL and Redis, embedded, for the whole session."""
    with EmbeddedStack({}) as stack:
        yield stack


@pytest.fixture(scope="session")
def postgres(servers: EmbeddedStack) -> EmbeddedPostgres:
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
def redis_server(servers: EmbeddedStack) -> Iterator[EmbeddedRedis]:
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
