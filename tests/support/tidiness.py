"""What must hold after every contract test, whatever it broke."""

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from redis import Redis

from tests.support.runtime import Runtime
from tests.support.wait import wait_until

OWN_KEYS = ("task_*", "celery-task-meta-*", "open_streams:*", "open_uploads:*", "api_requests:*")
CONNECTIONS_AT_MOST = 40
"""Of one runtime and its test: two slots with two each, the sweep, two APIs, the test's own."""


@contextlib.contextmanager
def tidy(runtime: Runtime) -> Iterator[Runtime]:
    """Yield a runtime that is up and has no job; check afterwards what must always hold."""
    runtime.make_ready()
    yield runtime
    try:
        runtime.make_ready()
        assert_tidy(runtime)
    finally:
        runtime.forget_jobs()


def assert_tidy(runtime: Runtime) -> None:
    """Check that jobs have ended, nothing is open, nothing lives for ever, all agree."""
    wait_until(lambda: _ended_jobs(runtime) is not None, 30, "every job to have ended")
    jobs = _ended_jobs(runtime) or []
    assert_ledger_is_closed(runtime)
    assert_keys_expire(runtime.redis_client, runtime.settings.redis_prefix)
    assert_no_connection_leaks(runtime)
    for job in jobs:
        assert_one_story(runtime, job)
    assert_log_keeps_secrets(runtime, jobs)


def assert_ledger_is_closed(runtime: Runtime) -> None:
    """No attempt is open once its job has ended, and none has more than it may."""
    with runtime.database() as cursor:
        cursor.execute("SELECT count(*) FROM generation_attempts WHERE finished_at IS NULL")
        assert cursor.fetchone()["count"] == 0, "an attempt is still open"
        cursor.execute(
            "SELECT count(*) FROM generation_jobs job WHERE attempt <>"
            " (SELECT count(*) FROM generation_attempts WHERE job_id = job.id)"
        )
        assert cursor.fetchone()["count"] == 0, "the ledger and the row count differently"


def assert_keys_expire(redis: Redis, prefix: str) -> None:
    """Every key of ours has a TTL."""
    for key in itertools.chain.from_iterable(
        redis.scan_iter(f"{prefix}{name}") for name in OWN_KEYS
    ):
        assert redis.ttl(key) != -1, f"{key} has no TTL"


def assert_no_connection_leaks(runtime: Runtime) -> None:
    """No transaction is open, and there are no more connections than slots need."""

    def settled() -> bool:
        with runtime.database() as cursor:
            cursor.execute(
                "SELECT count(*) FILTER (WHERE state LIKE 'idle in%') AS idle_in_transaction,"
                " count(*) AS connections FROM pg_stat_activity"
                " WHERE backend_type = 'client backend'"
            )
            row = cursor.fetchone()
        return bool(row["idle_in_transaction"] == 0 and row["connections"] <= CONNECTIONS_AT_MOST)

    wait_until(settled, 10, "connections to be given back")


def assert_one_story(runtime: Runtime, job: Mapping[str, Any]) -> None:
    """The events end with what the row says, once, and nothing follows or falls."""
    stream: Any = runtime.redis_client.xrange(runtime.settings.redis_keys.stream(job["task_id"]))
    steps = [json.loads(fields["event"]) for _, fields in stream]
    ends = [step for step in steps if step["status"] in ("completed", "failed")]
    assert len(ends) == 1, f"{len(ends)} last events: {steps}"
    assert steps[-1] == ends[0], f"something follows the last event: {steps}"
    row = (job["status"].lower(), job["progress"], job["message"])
    assert tuple(steps[-1].values()) == row, "the last event and the row differ"
    for before, after in itertools.pairwise(steps):
        assert after["progress"] >= before["progress"] or _begins_anew(after), f"fell: {steps}"


def assert_log_keeps_secrets(runtime: Runtime, jobs: list[Mapping[str, Any]]) -> None:
    """No log line of the test holds a prompt, the database's password or its query string."""
    address = urlsplit(runtime.postgres.url)
    prompts = [job["params"]["prompt"] for job in jobs]
    keys = [key for api in runtime.apis for key in api.keys.values()]
    for log in (runtime.log, *(api.log for api in runtime.apis)):
        text = log.take_unchecked_text()
        for secret in (*prompts, *keys, address.password, f"?{address.query}", "token="):
            assert secret not in text, f"the log holds {secret!r}"


def _begins_anew(step: Mapping[str, Any]) -> bool:
    return bool(step["status"] == "pending")


def _ended_jobs(runtime: Runtime) -> list[Mapping[str, Any]] | None:
    with runtime.database() as cursor:
        cursor.execute("SELECT * FROM generation_jobs")
        jobs: list[Mapping[str, Any]] = cursor.fetchall()
    return jobs if all(job["announced_at"] is not None for job in jobs) else None
