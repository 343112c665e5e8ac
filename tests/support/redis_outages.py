"""Redis in its bad states, each many times in the middle of many jobs: `make torture REDIS=5`."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.faults import cut_redis_connections
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

JOBS = 50
BEFORE_JOBS = 10
"""So many have ended when the fault begins."""

PATIENCE_SECONDS = 120.0


@contextmanager
def full(runtime: Runtime) -> Iterator[None]:
    """Let Redis refuse what takes memory."""
    runtime.redis_client.config_set("maxmemory", 1)
    yield
    runtime.redis_client.config_set("maxmemory", 0)


@contextmanager
def read_only(runtime: Runtime) -> Iterator[None]:
    """Let Redis be a replica, as after a failover: it also unblocks those that wait in it."""
    runtime.redis_client.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call] # redis-py
    yield
    runtime.redis_client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call] # redis-py


@contextmanager
def without_replicas(runtime: Runtime) -> Iterator[None]:
    """Let Redis refuse all writes because replicas are missing (NOREPLICAS)."""
    runtime.redis_client.config_set("min-replicas-to-write", 1)
    yield
    runtime.redis_client.config_set("min-replicas-to-write", 0)


@contextmanager
def unable_to_save(runtime: Runtime) -> Iterator[None]:
    """Let Redis refuse all writes because it could not save its data (MISCONF)."""
    redis: Any = runtime.redis_client
    place = redis.config_get("d*")
    # A folder of that name cannot be replaced by a file.
    obstacle = Path(place["dir"]) / place["dbfilename"]
    obstacle.unlink(missing_ok=True)
    obstacle.mkdir()
    redis.config_set("save", "3600 1")
    redis.bgsave()
    wait_until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "err", 20, "an error")
    yield
    redis.config_set("save", "")
    obstacle.rmdir()


@contextmanager
def restarted(runtime: Runtime) -> Iterator[None]:
    """Let Redis be down, and load its data when it comes back."""
    runtime.redis.kill()
    yield
    runtime.redis.start()


@contextmanager
def emptied(runtime: Runtime) -> Iterator[None]:
    """Let Redis forget everything."""
    runtime.redis_client.flushall()
    yield


@contextmanager
def frozen(runtime: Runtime) -> Iterator[None]:
    """Let Redis answer nothing."""
    runtime.redis.pause()
    yield
    runtime.redis.resume()


@contextmanager
def cut(runtime: Runtime) -> Iterator[None]:
    """Let Redis close its connections, time and again."""
    cut_redis_connections(runtime)
    yield
    cut_redis_connections(runtime)


State = Callable[[Runtime], AbstractContextManager[None]]

STATES: dict[State, float] = {
    full: 6.0,
    read_only: 6.0,
    without_replicas: 6.0,
    unable_to_save: 6.0,
    frozen: 10.0,
    emptied: 0.0,
    restarted: 2.0,
    cut: 2.0,
}
"""How long each lasts, in seconds."""


@dataclass(frozen=True)
class Outlasted:
    """What became of the jobs.

    Attributes:
        went_on_after: Seconds from the end of the fault to the next claim of a job.
        ended_after: Seconds from there to the end of the last job.
        attempts: Of all jobs together.
    """

    went_on_after: float
    ended_after: float
    attempts: int


def outlast(runtime: Runtime, state: State, seconds: float) -> Outlasted:
    """Let Redis be in a state for so long, while jobs run.

    Raises:
        AssertionError: The worker ended, or a job was lost or failed.
    """
    main_pid = runtime.process.pid
    jobs = [runtime.submit("a mug") for _ in range(JOBS)]
    wait_until(lambda: _ended(runtime) >= BEFORE_JOBS, PATIENCE_SECONDS, "some jobs to end")
    with state(runtime):
        time.sleep(seconds)
    back_at, claims = time.monotonic(), _claims(runtime)
    wait_until(lambda: _claims(runtime) > claims or _ended(runtime) == JOBS, 60, "a claim")
    went_on_after = time.monotonic() - back_at
    rows = [runtime.finish(job, within=PATIENCE_SECONDS) for job in jobs]
    assert {row.job["status"] for row in rows} == {"COMPLETED"}
    assert (runtime.process.is_running, runtime.process.pid) == (True, main_pid)
    attempts = sum(len(row.attempts) for row in rows)
    return Outlasted(went_on_after, time.monotonic() - back_at - went_on_after, attempts)


def _ended(runtime: Runtime) -> int:
    return _count(runtime, "generation_jobs WHERE finished_at IS NOT NULL")


def _claims(runtime: Runtime) -> int:
    return _count(runtime, "generation_attempts")


def _count(runtime: Runtime, rows: str) -> int:
    with runtime.database() as cursor:
        cursor.execute(f"SELECT count(*) FROM {rows}")
        return int(cursor.fetchone()["count"])
