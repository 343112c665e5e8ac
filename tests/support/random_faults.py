"""Faults drawn at random, one after the other, while jobs run."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Sequence

import psutil
from redis.exceptions import RedisError

from devkit.stack.server import EmbeddedServer
from shared.errors import ServiceUnavailable
from shared.jobs.model import Job
from tests.support.faults import cut_database_connections, cut_redis_connections, limited
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

PAUSE_AT_MOST_SECONDS = 1.0
FREEZE_AT_MOST_SECONDS = 4.0


class RandomFaults:
    """Breaks something of a runtime, again and again; nothing stays broken in the end.

    Args:
        jobs: Those that run meanwhile; others may join them.
        seed: Decides the order of the faults, and what each of them strikes.
        harsh: Whether servers hang, too, lose what they hold, and an operator interferes.

    Attributes:
        redis_was_emptied: Whether events and results may be lost.
    """

    def __init__(
        self, runtime: Runtime, jobs: Sequence[Job], seed: int, *, harsh: bool = False
    ) -> None:
        self._runtime = runtime
        self._jobs = jobs
        self._random = random.Random(seed)
        self._frozen: list[tuple[float, psutil.Process]] = []
        self.redis_was_emptied = False
        self._faults = [
            self._kill_worker,
            self._freeze_worker,
            self._cut_redis,
            self._restart_redis,
            self._cut_database,
            self._restart_database,
            self._repeat_envelopes,
            self._cancel,
        ]
        if harsh:
            self._faults += [
                self._freeze_redis,
                self._freeze_database,
                self._empty_redis,
                self._purge_queue,
                self._lock_rows,
                self._pause_workspace,
                self._restart_apis,
                self._restart_runtime,
            ]

    def strike(self, times: int) -> None:
        """Let faults happen, each kind equally often, between the jobs' own messages."""
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
            for pid in self._some_worker():
                os.kill(pid, signal.SIGKILL)

    def _freeze_worker(self) -> None:
        lease_seconds = self._runtime.settings.lease_seconds
        with contextlib.suppress(psutil.NoSuchProcess):
            for pid in self._some_worker():
                process = psutil.Process(pid)
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
        jobs = list(self._jobs)
        for job in self._random.sample(jobs, min(3, len(jobs))):
            with contextlib.suppress(ServiceUnavailable):
                self._runtime.dispatch(job)

    def _cancel(self) -> None:
        with contextlib.suppress(ServiceUnavailable):
            self._runtime.services.cancel(self._random.choice(self._jobs).id)

    def _freeze_redis(self) -> None:
        self._freeze(self._runtime.redis)

    def _freeze_database(self) -> None:
        self._freeze(self._runtime.postgres)

    def _freeze(self, server: EmbeddedServer) -> None:
        server.pause()
        time.sleep(self._random.uniform(0.5, FREEZE_AT_MOST_SECONDS))
        server.resume()

    def _empty_redis(self) -> None:
        self.redis_was_emptied = True
        with contextlib.suppress(RedisError):
            self._runtime.redis_client.flushall()

    def _purge_queue(self) -> None:
        self._runtime.queue.clear()

    def _lock_rows(self) -> None:
        with self._runtime.locked_row(*list(self._jobs)):
            time.sleep(self._random.uniform(0.2, 1))

    def _pause_workspace(self) -> None:
        with limited(self._runtime, running_jobs=1):
            time.sleep(self._random.uniform(0.2, 1))

    def _restart_apis(self) -> None:
        for api in self._runtime.apis:
            api.process.kill()
            api.process.start()

    def _restart_runtime(self) -> None:
        if self._random.random() < 0.5:
            self._runtime.kill_machine()
        else:
            self._runtime.stop()
        self._runtime.start()

    def _some_worker(self) -> list[int]:
        """Return the process of a job that runs; none if no job does."""
        with self._runtime.database() as cursor:
            cursor.execute(
                "SELECT lease_owner FROM generation_jobs WHERE lease_owner IS NOT NULL"
                " ORDER BY lease_owner"
            )
            owners = [row["lease_owner"] for row in cursor.fetchall()]
        return [int(self._random.choice(owners).rpartition(":")[2])] if owners else []
