"""What one job costs its servers and its worker: commits, Redis calls, and where its time goes."""

import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2

from devkit.stack import Stack, embedded_stack
from shared.deadline import Deadline, MainThreadInterrupt
from shared.generation.handler import RuntimeTraits
from shared.imaging.request import GenerationRequest
from shared.jobs.acceptance import NewJob
from shared.jobs.migration import migrate
from shared.logs import configure_logging
from shared.settings import load_settings
from shared.wiring import Services

JOBS = 200
EVENTS_OF_A_JOB = 8
"""From "Starting..." to "Completed"; "Queued" is the submitter's."""

PARTS = {
    "drawing": ("shared/imaging/mock_print",),
    "image store": ("shared/adapters/disk_images",),
    "events": ("shared/events/publisher", "shared/events/attempt_events"),
    "statements": ("shared/database/statements",),
    "logging": ("structlog",),
}
"""Cumulative time of the outermost function of each part."""


@dataclass(frozen=True)
class JobCost:
    """The cost of one job in the handler, on average.

    Attributes:
        parts: Milliseconds of profiled time by part; the rest is the handler's own.
    """

    commits: float
    redis_calls: float
    wall_ms: float
    cpu_ms: float
    parts: dict[str, float]

    def describe(self) -> str:
        """Return the figures as lines."""
        parts = ", ".join(f"{name} {share:.0%}" for name, share in self.parts.items())
        return (
            f"commits {self.commits:.2f} a job, Redis calls {self.redis_calls:.2f} a job"
            f" ({EVENTS_OF_A_JOB} events)\n"
            f"    handler {self.wall_ms:.1f} ms, of it {self.cpu_ms:.1f} ms CPU;"
            f" profiled time: {parts}"
        )


def measure_job() -> JobCost:
    """Run jobs through the handler in this process, counted by the servers themselves."""
    with tempfile.TemporaryDirectory() as folder, embedded_stack() as stack:
        os.environ.update(stack.environment)
        os.environ.update(MOCK_STEP_SECONDS="0", IMAGE_DIR=folder)
        settings = load_settings()
        migrate(settings.database_url)
        with (
            open(os.devnull, "w") as nowhere,  # noqa: PTH123 - no path, a device
            Services(settings, runtime="celery", dispatcher=_NoDispatcher()) as services,
        ):
            configure_logging("celery", "INFO", nowhere)
            return _measure(services, stack)


class _NoDispatcher:
    def dispatch(self, job_id: Any, envelope_id: str) -> None:
        """Send nothing: the jobs are handed over by hand."""

    def find_lost(self, envelopes: Any, running: int) -> list[Any]:
        """Find none."""
        return []

    def check(self) -> None:
        """Find everything in order."""


def _measure(services: Services, stack: Stack) -> JobCost:
    interrupt = MainThreadInterrupt()
    interrupt.install()
    handler = services.build_handler(RuntimeTraits((), lambda: False), interrupt)

    def run(job_ids: list[str]) -> None:
        for job_id in job_ids:
            handler.handle(job_id, Deadline(300))

    run(_accept(services, 20))
    counted = _accept(services, JOBS)
    # PostgreSQL adds up the statistics of a session when it ends.
    services.engine.dispose()
    commits, calls = _commits(stack), _script_calls(services)
    wall, cpu = time.perf_counter(), time.process_time()
    run(counted)
    wall_ms = (time.perf_counter() - wall) / JOBS * 1000
    cpu_ms = (time.process_time() - cpu) / JOBS * 1000
    calls = _script_calls(services) - calls
    services.engine.dispose()
    commits = _commits(stack) - commits
    profiled = _accept(services, JOBS)
    return JobCost(commits / JOBS, calls / JOBS, wall_ms, cpu_ms, _profile(lambda: run(profiled)))


def _accept(services: Services, count: int) -> list[str]:
    request = GenerationRequest(prompt="a red mug", size="256x256", style="minimal", seed=7)
    new = NewJob("default", None, None, request.params().as_row(), 3)
    return [str(services.jobs.insert(new).id) for _ in range(count)]


def _commits(stack: Stack) -> int:
    assert stack.postgres is not None
    with closing(psycopg2.connect(stack.postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        )
        return int((cursor.fetchone() or (0,))[0])


def _script_calls(services: Services) -> int:
    stats: Any = services.redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


def _profile(run: Callable[[], None]) -> dict[str, float]:
    profile = cProfile.Profile()
    profile.runcall(run)
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined] # not in typeshed
    shares = {}
    for part, names in PARTS.items():
        shares[part] = _time_entering(stats, names) / total
    return shares


def _time_entering(stats: pstats.Stats, names: tuple[str, ...]) -> float:
    """Add up the time of functions of a part that were called from outside of it."""

    def belongs(function: tuple[str, int, str]) -> bool:
        return any(name in function[0] for name in names)

    entered = 0.0
    for function, (_, _, _, _, callers) in stats.stats.items():  # type: ignore[attr-defined] # not in typeshed
        if belongs(function):
            entered += sum(times[3] for caller, times in callers.items() if not belongs(caller))
    return entered
