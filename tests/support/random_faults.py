"""Faults drawn at random, one after the other, while jobs run."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Sequence

import psutil

from shared.errors import ServiceUnavailable
from shared.jobs.model import Job
from tests.support.faults import cut_database_connections, cut_redis_connections
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

PAUSE_AT_MOST_SECONDS = 1.0


class RandomFaults:
    """Breaks something of a runtime, again and again; nothing stays broken in the end.

    Args:
        jobs: Those that run meanwhile.
        seed: Decides the order of the faults, and what each of them strikes.
    """

    def __init__(self, runtime: Runtime, jobs: Sequence[Job], seed: int) -> None:
        self._runtime = runtime
        self._jobs = jobs
        self._random = random.Random(seed)
        self._frozen: list[tuple[float, psutil.Process]] = []
        self._faults = (
            self._kill_worker,
            self._freeze_worker,
            self._cut_redis,
            self._restart_redis,
            self._cut_database,
            self._restart_database,
            self._repeat_envelopes,
            self._cancel,
        )

    def strike(self, times: int) -> None:
        """Let faults happen, each kind once in every eight, between the jobs' own messages."""
        order = [
            fault
            for _ in range(0, times, len(self._faults))
            for fault in self._random.sample(self._faults, len(self._faults))
        ]
        try:
            for fault in order[:times]:
                self._let_jobs_go_on()
                print(f"{time.monotonic():.2f} {fault.__name__}")
                fault()
        finally:
            self._thaw(until=float("inf"))

    def _let_jobs_go_on(self) -> None:
        messages = self._messages() + self._random.randint(1, 8)
        until = time.monotonic() + self._random.uniform(0.2, PAUSE_AT_MOST_SECONDS)
        wait_until(
            lambda: self._messages() >= messages or time.monotonic() >= until, 10, "some messages"
        )
        self._thaw(until=time.monotonic())

    def _messages(self) -> int:
        return sum(len(self._runtime.channel.of(job.task_id)) for job in self._jobs)

    def _kill_worker(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._some_worker(), signal.SIGKILL)

    def _freeze_worker(self) -> None:
        lease_seconds = self._runtime.settings.lease_seconds
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._some_worker())
            process.suspend()
            seconds = self._random.uniform(1.2, 2) * lease_seconds
            self._frozen.append((time.monotonic() + seconds, process))

    def _thaw(self, until: float) -> None:
        for frozen in [frozen for frozen in self._frozen if frozen[0] <= until]:
            self._frozen.remove(frozen)
            with contextlib.suppress(psutil.NoSuchProcess):
                frozen[1].resume()

    def _cut_redis(self) -> None:
        cut_redis_connections(self._runtime)

    def _restart_redis(self) -> None:
        self._runtime.redis.kill()
        self._runtime.redis.start()

    def _cut_database(self) -> None:
        cut_database_connections(self._runtime)

    def _restart_database(self) -> None:
        self._runtime.postgres.kill()
        self._runtime.postgres.start()

    def _repeat_envelopes(self) -> None:
        for job in self._random.sample(self._jobs, 3):
            with contextlib.suppress(ServiceUnavailable):
                self._runtime.dispatch(job)

    def _cancel(self) -> None:
        with contextlib.suppress(ServiceUnavailable):
            self._runtime.services.cancel(self._random.choice(self._jobs).id)

    def _some_worker(self) -> int:
        def owners() -> list[str]:
            with self._runtime.database() as cursor:
                cursor.execute(
                    "SELECT lease_owner FROM generation_jobs WHERE lease_owner IS NOT NULL"
                    " ORDER BY lease_owner"
                )
                return [row["lease_owner"] for row in cursor.fetchall()]

        owner = self._random.choice(wait_until(owners, 20, "some job to run"))
        return int(owner.rpartition(":")[2])
