"""`darkroom doctor` as its users meet it: exit codes, real servers, files that are not there."""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from devkit.stack import EmbeddedRedis, EmbeddedStack
from devkit.stack.postgres import EmbeddedPostgres
from devkit.stack.server import free_port
from devkit.stack.sqs import EmbeddedSqs
from shared.jobs.migrate import newest_revision
from tests.integration.test_cli import darkroom, tidy_environment
from tests.support.agreement import TEMPLATE, change, copy_project, resource


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    """Give an environment without any server."""
    with tidy_environment() as environment:
        yield environment


@pytest.fixture(scope="module")
def durable_redis(servers: EmbeddedStack) -> Iterator[EmbeddedRedis]:
    """Give a Redis that keeps its data."""
    with EmbeddedRedis(servers.folder / "redis-of-doctor", persistent=True) as server:
        yield server


@pytest.fixture(scope="module")
def sqs(servers: EmbeddedStack) -> Iterator[EmbeddedSqs]:
    """Give an SQS with the queue as it should be."""
    with EmbeddedSqs(servers.folder / "sqs-of-doctor") as server:
        yield server


def test_defaults_are_sound(environment: Mapping[str, str]) -> None:
    """Without any setting and any server; plain text where nobody looks at a terminal."""
    done = darkroom(environment, "doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "0 broken" in done.stdout.splitlines()[-1]
    assert "not checked: DATABASE_URL is not set" in done.stdout
    assert "worker or machine lost   75 s" in done.stdout
    assert "\x1b" not in done.stdout


def test_sound_servers_are_looked_at(
    environment: Mapping[str, str],
    database_url: str,
    durable_redis: EmbeddedRedis,
    sqs: EmbeddedSqs,
) -> None:
    """Schema, eviction, persistence, clocks, the queue's visibility and its dead letters."""
    given = {"DATABASE_URL": database_url, "REDIS_URL": durable_redis.url, **sqs.environment}
    done = darkroom({**environment, **given}, "doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for words in (
        f"schema at {newest_revision()}  (postgresql server)",
        "append-only file on, 0 replicas  (redis server)",
        "cluster mode off  (",
        "1980 >= 1980 s  (SQS queue)",
        "maxReceiveCount 10 > 3  (",
    ):
        assert words in done.stdout
    assert re.search(r"[+-]\d\.\d s  \(postgresql server, redis server\)", done.stdout)


def test_faults_of_servers_are_named(
    environment: Mapping[str, str],
    postgres: EmbeddedPostgres,
    redis_server: EmbeddedRedis,
    servers: EmbeddedStack,
) -> None:
    """An empty database, a Redis that evicts and forgets, a queue that hides for too short."""
    empty_url = postgres.create_database("never_migrated")
    with (
        closing(Redis.from_url(redis_server.url)) as redis,
        EmbeddedSqs(servers.folder / "hasty-sqs", visibility_timeout_seconds=30) as sqs,
    ):
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            given = {"DATABASE_URL": empty_url, "REDIS_URL": redis_server.url, **sqs.environment}
            done = darkroom({**environment, **given}, "doctor", "--only-broken")
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
            postgres.drop_database("never_migrated")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1].split("; ")[1] == (
        "4 broken: redis-memory, redis-persistence, queue-visibility, postgresql"
    )
    assert f"this code needs {newest_revision()}" in done.stdout
    assert "holds " not in done.stdout


def test_servers_that_are_away_are_not_checked(environment: Mapping[str, str]) -> None:
    """Whether they run is another question."""
    port = free_port()
    given = {
        "DATABASE_URL": f"postgresql://u:hidden@127.0.0.1:{port}/d",
        "REDIS_URL": f"redis://:hidden@127.0.0.1:{port}/0",
        "QUEUE_URL": f"http://127.0.0.1:{port}/1/jobs",
    }
    done = darkroom({**environment, **given}, "doctor")
    assert done.returncode == 0, done.stdout
    assert "not checked: no answer: PostgreSQL: " in done.stdout
    assert "hidden" not in done.stdout + done.stderr


def test_a_wrong_setting_is_a_broken_rule(environment: Mapping[str, str]) -> None:
    """Not the end of the examination: all that can be said is said."""
    done = darkroom({**environment, "SOFT_TIME_LIMIT": "400"}, "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert "2 broken: settings, soft-limit" in done.stdout.splitlines()[-1]
    assert "SOFT_TIME_LIMIT 400 is not less than TIME_LIMIT 330" in done.stdout


def test_a_changed_file_is_told_from_a_sound_one(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """In whatever folder it is."""
    copy_project(tmp_path)
    change(tmp_path / TEMPLATE, resource("JobQueue", VisibilityTimeout=330))
    done = darkroom(environment, "doctor", "--folder", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].split("; ")[1] == "1 broken: queue-visibility"


def test_files_that_are_absent_are_no_fault(environment: Mapping[str, str], tmp_path: Path) -> None:
    """An installed package has none."""
    done = darkroom(environment, "doctor", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stdout
    for name in ("docker-compose.yml", "template.yaml", "pyproject.toml"):
        assert f"not checked: {name} is absent" in done.stdout


@pytest.mark.parametrize("name", ["docker-compose.yml", "template.yaml", "samconfig.toml"])
def test_a_file_that_cannot_be_read_ends_it(
    name: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """With 2, and one line that names the file."""
    (tmp_path / name).write_text("a: [")
    done = darkroom(environment, "doctor", "--folder", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"darkroom: {name} cannot be read: ")
    assert done.stderr.count("\n") == 1
