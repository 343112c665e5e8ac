"""Faults that need more than one line: what breaks when machines, servers and wires break."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from devkit.runtimes import RuntimeProcess
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.model import Claim, Job
from shared.jobs.workspace_limits import LimitStore
from tests.support.api import KEYED, Api
from tests.support.runtime import SLOTS, Runtime
from tests.support.wait import wait_until


def kill_process(runtime: Runtime, pid: int) -> None:
    """End a worker process by SIGKILL, together with its database sessions.

    PostgreSQL finds out that its client is gone only when it has something to say; a statement
    that waits for a lock would otherwise still take effect after its process has died.
    """
    os.kill(pid, signal.SIGKILL)
    cut_connections_of(runtime, pid)


def cut_connections_of(runtime: Runtime, pid: int) -> None:
    """Have PostgreSQL end all sessions of one worker process."""
    with runtime.database() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
            (f"darkroom-%-{pid}",),
        )


def warm_up(runtime: Runtime) -> None:
    """Have all slots run jobs at once, so that none of them needs a cold start next."""

    def ran_at_once() -> bool:
        jobs = [runtime.submit("a white mug [[slow:0.2]]") for _ in range(SLOTS)]
        attempts = [runtime.finish(job).attempts[-1] for job in jobs]
        last_start = max(attempt["started_at"] for attempt in attempts)
        return bool(last_start < min(attempt["finished_at"] for attempt in attempts))

    wait_until(ran_at_once, 30, "all slots to run jobs at once")


def cut_database_connections(runtime: Runtime) -> None:
    """Have PostgreSQL end all sessions of the runtime, idle or not."""
    with runtime.database() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'darkroom-%'"
        )


def cut_redis_connections(runtime: Runtime) -> None:
    """Have Redis close all connections but those of subscribers: a blip of the network."""
    with contextlib.closing(Redis.from_url(runtime.settings.redis_url)) as redis:
        redis.client_kill_filter(_type="normal")


def claim_on_lost_machine(runtime: Runtime, job: Job) -> Claim:
    """Claim a job as a worker of another machine that is lost at once."""
    attempts = AttemptStore(
        runtime.services.engine,
        runtime=runtime.process.runtime,
        owner="lost-machine:1",
        lease_seconds=runtime.settings.lease_seconds,
        time_limit_seconds=runtime.settings.time_limit,
    )
    claim = attempts.claim(job.id)
    assert isinstance(claim, Claim), claim
    return claim


@contextlib.contextmanager
def other_settings(runtime: Runtime, **settings: str) -> Iterator[None]:
    """Run the runtime's processes with other settings for the length of the block."""
    with _other_process(runtime, SLOTS, settings):
        yield


@contextlib.contextmanager
def one_slot(runtime: Runtime) -> Iterator[None]:
    """Run one job at a time for the block, by a process that has run one before."""
    with _other_process(runtime, 1, {"MOCK_STEP_SECONDS": "0"}):

        def has_one() -> bool:
            room = runtime.services.releases.find_room()
            return room is not None and room.slots == 1

        wait_until(has_one, 20, "the slots of the process before to be forgotten")
        runtime.finish(runtime.submit("a mug"))
        yield


@contextlib.contextmanager
def _other_process(runtime: Runtime, slots: int, settings: Mapping[str, str]) -> Iterator[None]:
    usual = runtime.process
    usual.kill()
    environment = runtime.environment_with(settings)
    runtime.process = RuntimeProcess(usual.runtime, environment, runtime.log_path, slots)
    try:
        runtime.start()
        yield
    finally:
        runtime.process.kill()
        runtime.process = usual


@contextlib.contextmanager
def other_api(
    runtime: Runtime, settings: Mapping[str, str], kind: Mapping[str, str] = KEYED
) -> Iterator[Api]:
    """Run one more API, with other settings, for the length of the block."""
    folder = runtime.log_path.parent
    log_path = folder / f"other-api-{len(list(folder.glob('other-api-*')))}.log"
    api = Api(runtime.process.runtime, runtime.environment_with(settings), kind, log_path)
    try:
        yield api
    finally:
        api.close()


@contextlib.contextmanager
def stopping(runtime: Runtime) -> Iterator[None]:
    """Stop the runtime; enter the block once it has begun to stop, leave it when it has ended."""
    lines_before = len(runtime.log_lines())

    def is_stopping() -> bool:
        return any("stop" in line.get("event", "") for line in runtime.log_lines()[lines_before:])

    with ThreadPoolExecutor(max_workers=1) as executor:
        stopped = executor.submit(runtime.stop)
        wait_until(is_stopping, 20, "the runtime to begin to stop")
        yield
        stopped.result()


@contextlib.contextmanager
def paused_provider(runtime: Runtime, name: str = "mock") -> Iterator[None]:
    """Let the jobs of a provider wait in their rows for the body."""
    with runtime.database() as cursor:
        cursor.execute(
            "INSERT INTO paused_providers (provider) VALUES (%s)"
            " ON CONFLICT (provider) DO UPDATE SET resumes_at = NULL",
            (name,),
        )
    try:
        yield
    finally:
        with runtime.database() as cursor:
            cursor.execute("DELETE FROM paused_providers")


@contextlib.contextmanager
def limited(runtime: Runtime, **limits: int | list[str]) -> Iterator[None]:
    """Give the workspace `default` limits of its own for the body."""
    store = LimitStore(runtime.services.engine)
    store.set("default", limits)
    try:
        yield
    finally:
        store.set("default", dict.fromkeys(limits))


@contextlib.contextmanager
def spent_budget(runtime: Runtime, microdollars: int = 10) -> Iterator[None]:
    """Let the workspace `default` have a budget for the body, and have spent so much more."""
    today = "(now() AT TIME ZONE 'UTC')::date"
    with limited(runtime, cost_per_day=100), runtime.database() as cursor:
        cursor.execute(
            f"INSERT INTO workspace_costs VALUES ('default', {today}, %s)", (100 + microdollars,)
        )
        try:
            yield
        finally:
            cursor.execute("DELETE FROM workspace_costs")
