"""The sweep in the main process of a Celery worker: never in a job slot, whatever those do.

A thread of its own, so that a dead broker or a slow database never holds up the event loop, nor
the event loop the sweep. Children are forked only between two passes: a lock of the sweep that a
fork caught held would stay held in the child for ever.
"""

import math
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared import __version__
from shared.errors import DarkroomError
from shared.wiring import Services, process_owner

RELEASE_SECONDS = 1.0
"""Between two looks for retries that are due, and for slots that other workers have."""

LONGEST_PAUSE_SECONDS = 60.0
"""Between two sweeps, however often they fail."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeadChild:
    """A child process that died, or was killed, while it had a job.

    Attributes:
        owner: The process as it stands in `lease_owner`.
        at_time_limit: Whether it was killed for running too long.
    """

    job_id: UUID
    owner: str
    at_time_limit: bool


class JobEnded:
    """A child that is free for another job."""


_reports: queue.SimpleQueue[DeadChild | JobEnded | None] = queue.SimpleQueue()


def report(news: DeadChild | JobEnded) -> None:
    """Have the sweep thread act on what the event loop has seen; returns at once."""
    _reports.put(news)


class SweepThread:
    """Sweeps each SWEEP_SECONDS, settles the jobs of dead children, and releases waiting jobs.

    Args:
        services: Of this thread alone.
        slots: How many jobs the worker runs at once.
    """

    def __init__(self, services: Services, slots: int) -> None:
        self._services = services
        self._slots = slots
        self._owner = process_owner()
        self._between_forks = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self._failures = 0

    def start(self) -> None:
        """Begin with a sweep at once: a worker that comes back finds what it left."""
        os.register_at_fork(
            before=self._between_forks.acquire,
            after_in_parent=self._between_forks.release,
            after_in_child=self._leave_to_parent,
        )
        self._thread.start()

    def stop(self) -> None:
        """End after the pass that is running; the worker's slots count no more."""
        _reports.put(None)
        self._thread.join(timeout=10)
        self._services.close()

    def _leave_to_parent(self) -> None:
        # psycopg2 closes no connection that another process has made.
        self._services.engine.dispose(close=False)
        self._between_forks.release()

    def _run(self) -> None:
        next_sweep_at = next_release_at = time.monotonic()
        while True:
            wait_seconds = min(next_sweep_at, next_release_at) - time.monotonic()
            try:
                news = _reports.get(timeout=max(0.0, wait_seconds))
            except queue.Empty:
                if time.monotonic() >= next_sweep_at:
                    self._guard(self._sweep)
                    next_sweep_at = time.monotonic() + self._pause_seconds()
                else:
                    self._guard(self._services.releaser.release)
                next_release_at = time.monotonic() + RELEASE_SECONDS
                continue
            if news is None:
                self._guard(partial(self._services.releases.forget_worker, self._owner))
                return
            if isinstance(news, DeadChild):
                self._guard(partial(self._settle, news))
            else:
                self._guard(partial(self._services.releaser.release, in_batches=True))

    def _guard(self, work: Callable[[], object]) -> None:
        """Do a piece of work between two forks; no error ends the thread."""
        with self._between_forks:
            try:
                work()
            except (DarkroomError, SQLAlchemyError) as error:
                log.warning("sweep failed", reason=str(error)[:200])
            except Exception:
                # Without this thread no lost job is ever recovered.
                self._failures += 1
                log.exception("sweep failed unexpectedly", failures=self._failures)
            else:
                self._failures = 0

    def _pause_seconds(self) -> float:
        """Return the time to the next sweep: longer after each unexpected error in a row."""
        usual = self._services.settings.sweep_seconds
        return min(usual * 2.0 ** min(self._failures, 8), max(usual, LONGEST_PAUSE_SECONDS))

    def _sweep(self) -> None:
        # Counted until the third sweep after this is late.
        seconds = math.ceil(self._pause_seconds() * 3) + 1
        self._services.releases.note_worker(self._owner, self._slots, __version__, seconds)
        self._services.sweep()

    def _settle(self, death: DeadChild) -> None:
        self._services.sweeper.recover_of_dead_worker(
            death.job_id, death.owner, at_time_limit=death.at_time_limit
        )
