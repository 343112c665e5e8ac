"""What the integration tests share: empty tables, an empty Redis, and connections to both."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from redis import Redis
from sqlalchemy import Engine

from devkit.stack import EmbeddedRedis
from shared.adapters.disk_images import DiskImageStore
from shared.database.session import create_pooled_engine
from shared.events.connection import connect_redis
from shared.events.publisher import EventPublisher
from shared.generation.announce import Announcer
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.recovery_store import RecoveryStore
from shared.jobs.release_store import ReleaseRules, ReleaseStore
from shared.jobs.workspace_limits import LimitStore
from tests.support.builders import ScriptedProvider, build_settings
from tests.support.database import Database, Insert
from tests.support.worker import Hire, Published, Worker, published_steps


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give the module's database with no job in it."""
    with closing(Database(database_url)) as database:
        database.clear()
        yield database


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[Engine]:
    """Give the connections of a process that runs jobs."""
    engine = create_pooled_engine(build_settings(database_url).database_url, "darkroom-test")
    yield engine
    engine.dispose()


@pytest.fixture
def jobs(engine: Engine, database: Database) -> JobStore:
    """Give the store of jobs."""
    return JobStore(engine)


@pytest.fixture
def attempts(engine: Engine, database: Database) -> AttemptStore:
    """Give the store of attempts, of a worker on Celery."""
    return AttemptStore(
        engine, runtime="celery", owner="host:1", lease_seconds=30, time_limit_seconds=100
    )


@pytest.fixture
def limits(engine: Engine, database: Database) -> LimitStore:
    """Give the store of limits."""
    return LimitStore(engine)


@pytest.fixture
def recovery(engine: Engine, database: Database) -> RecoveryStore:
    """Give the store of the sweep."""
    return RecoveryStore(engine)


@pytest.fixture
def releases(engine: Engine, database: Database) -> ReleaseStore:
    """Give the store of the release step, with room for many envelopes."""
    store = ReleaseStore(engine, ReleaseRules("celery", "mock"))
    store.note_worker("host:1", 50, "0", 600)
    return store


@pytest.fixture
def insert(database: Database) -> Insert:
    """Give what inserts a waiting job, younger than those before, in a workspace by its name."""
    ages = iter(range(1000, 0, -1))

    def make(workspace: str = "default", **columns: object) -> UUID:
        database.fetch(
            "INSERT INTO workspaces (id, name) VALUES (%(id)s, 'x') ON CONFLICT DO NOTHING",
            id=workspace,
        )
        job_id, _ = database.insert_job(workspace_id=workspace, **columns)
        database.update_job(
            job_id, "created_at = now() - make_interval(secs => %(age)s)", age=next(ages)
        )
        return job_id

    return make


@pytest.fixture
def redis(redis_server: EmbeddedRedis) -> Iterator[Redis]:
    """Give a client of an empty Redis, made as the product makes it."""
    client = connect_redis(redis_server.url)
    yield client
    client.close()


@pytest.fixture
def publisher(redis: Redis) -> EventPublisher:
    """Give a publisher with short streams."""
    return EventPublisher(redis, ttl_seconds=60, stream_length=50)


@pytest.fixture
def image_store(tmp_path: Path) -> DiskImageStore:
    """Give an empty image store."""
    return DiskImageStore(tmp_path)


@pytest.fixture
def hire(engine: Engine, publisher: EventPublisher, image_store: DiskImageStore) -> Hire:
    """Give what makes workers in this process."""

    def make(provider: ScriptedProvider, **options: object) -> Worker:
        options.setdefault("image_store", image_store)
        return Worker(engine, publisher, provider, **options)  # type: ignore[arg-type] # by name

    return make


@pytest.fixture
def canceller(jobs: JobStore, publisher: EventPublisher) -> Announcer:
    """Give what cancels jobs."""
    return Announcer(jobs, publisher)


@pytest.fixture
def published(redis: Redis) -> Published:
    """Give what reads the steps that a job's stream holds."""
    return lambda job: published_steps(redis, job)
