"""`darkroom doctor` as its users meet it: verdict, exit codes, real servers."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from devkit.stack import EmbeddedRedis, Stack
from devkit.stack.postgres import EmbeddedPostgres
from devkit.stack.server import free_port
from devkit.stack.sqs import EmbeddedSqs
from shared.jobs.migration import newest_revision
from tests.support.cli import darkroom, tidy_environment


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    """Give an environment without any server."""
    with tidy_environment() as environment:
        yield environment


@pytest.fixture(scope="module")
def durable_redis(servers: Stack) -> Iterator[EmbeddedRedis]:
    """Give a Redis that keeps its data."""
    with EmbeddedRedis(servers.folder / "redis-of-doctor", persistent=True).running() as server:
        yield server


@pytest.fixture(scope="module")
def sqs(servers: Stack) -> Iterator[EmbeddedSqs]:
    """Give an SQS with the queue as it should be."""
    with EmbeddedSqs(servers.folder / "sqs-of-doctor").running() as server:
        yield server


def doctor(environment: Mapping[str, str], *, code: int, **variables: str) -> dict[str, Any]:
    """Return the report in an environment with more variables."""
    done = darkroom({**environment, **variables}, "doctor", "--json")
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    assert "hidden" not in done.stdout
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def rules_by(state: str, report: dict[str, Any]) -> dict[str, Any]:
    """Return the rules of a report that are in this state, by their names."""
    return {rule["name"]: rule for rule in report["rules"] if rule["state"] == state}


def test_defaults_are_sound(environment: Mapping[str, str]) -> None:
    """Without any setting and any server: one line of plain text."""
    done = darkroom(environment, "doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.fullmatch(r"ok: \d+ of \d+ rules hold, \d+ not checked\n", done.stdout)
    unknown = rules_by("not checked", doctor(environment, code=0))
    assert unknown["redis-memory"]["not_checked"] == "REDIS_URL is not set"


def test_details_are_printed_on_request(environment: Mapping[str, str]) -> None:
    """Every rule, recovery times, and the versions that run."""
    done = darkroom(environment, "doctor", "--verbose")
    assert (done.returncode, done.stderr) == (0, "")
    assert "why   DATABASE_URL is not set" in done.stdout
    assert re.search(r"celery  worker or machine lost +\d+ s   LEASE_SECONDS", done.stdout)
    assert f"schema {newest_revision()}, darkroom " in done.stdout
    assert "\x1b" not in done.stdout


def test_sound_servers_are_checked(
    environment: Mapping[str, str],
    database_url: str,
    durable_redis: EmbeddedRedis,
    sqs: EmbeddedSqs,
) -> None:
    """Schema, connections, eviction, persistence, clocks, the queue and its dead letters."""
    given = {"DATABASE_URL": database_url, "REDIS_URL": durable_redis.url, **sqs.environment}
    report = doctor(environment, code=0, **given)
    assert (report["verdict"], rules_by("not checked", report)) == ("ok", {})
    found = {name: " ".join(rule["found"]) for name, rule in rules_by("holds", report).items()}
    assert f"schema at {newest_revision()}" in found["postgresql"]
    assert re.match(r"\d+ free: .* a worker of \d+ slots", found["postgresql-connections"])
    assert found["postgresql-sessions"] == "a session for each connection"
    assert found["redis-persistence"] == "append-only file on, 0 replicas"
    assert found["redis-cluster"] == "cluster mode off"
    assert re.fullmatch(r"PostgreSQL [+-]\d\.\d s Redis [+-]\d\.\d s", found["clocks"])
    assert re.fullmatch(r"\d+ >= \d+ s", found["queue-visibility"])
    assert re.fullmatch(r"maxReceiveCount \d+ > \d+", found["dead-letters"])


def test_faults_of_servers_are_named(
    environment: Mapping[str, str],
    postgres: EmbeddedPostgres,
    redis_server: EmbeddedRedis,
    servers: Stack,
) -> None:
    """An empty database, a Redis that evicts and forgets, a queue that hides for too short."""
    empty_url = postgres.create_database("never_migrated")
    with (
        closing(Redis.from_url(redis_server.url)) as redis,
        EmbeddedSqs(servers.folder / "hasty-sqs", visibility_timeout_seconds=30).running() as sqs,
    ):
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            given = {"DATABASE_URL": empty_url, "REDIS_URL": redis_server.url, **sqs.environment}
            done = darkroom({**environment, **given}, "doctor")
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
            postgres.drop_database("never_migrated")
    assert (done.returncode, done.stderr) == (1, "")
    verdict, *details = done.stdout.splitlines()
    names = "postgresql, redis-memory, redis-persistence, queue-visibility"
    assert verdict.startswith(f"broken: {names}; ")
    text = "\n".join(details)
    assert f"wrong this code needs {newest_revision()}" in text
    assert "mend  Run darkroom migrate" in text
    assert "holds " not in text


def test_servers_that_do_not_answer_are_not_checked(environment: Mapping[str, str]) -> None:
    """Whether they run is another question."""
    port = free_port()
    report = doctor(
        environment,
        code=0,
        DATABASE_URL=f"postgresql://u:hidden@127.0.0.1:{port}/d",
        REDIS_URL=f"redis://:hidden@127.0.0.1:{port}/0",
        QUEUE_URL=f"http://127.0.0.1:{port}/1/jobs",
    )
    unknown = rules_by("not checked", report)
    for name in ("postgresql", "redis-memory", "dead-letters"):
        assert unknown[name]["not_checked"].startswith("no answer: ")


def test_a_wrong_setting_is_a_broken_rule(environment: Mapping[str, str]) -> None:
    """In the words of the processes that would not start with it."""
    done = darkroom({**environment, "SOFT_TIME_LIMIT": "3000"}, "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("broken: settings; ")
    assert "SOFT_TIME_LIMIT must be less than TIME_LIMIT" in done.stdout


def test_a_secret_that_cannot_be_read_is_a_wrong_setting(environment: Mapping[str, str]) -> None:
    """Its path is named, and no stand-in takes its place."""
    report = doctor(environment, code=1, REDIS_URL_FILE="/nowhere")
    assert "REDIS_URL_FILE names /nowhere" in rules_by("broken", report)["settings"]["faults"][0]


def test_an_unknown_option_is_a_usage_error(environment: Mapping[str, str]) -> None:
    """As with every command."""
    assert darkroom(environment, "doctor", "--folder", ".").returncode == 2
