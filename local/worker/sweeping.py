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
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import DarkroomError
from shared.events import keys
from shared.wiring import Services

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


_deaths: queue.SimpleQueue[DeadChild | None] = queue.SimpleQueue()


def report_death(death: DeadChild) -> None:
    """Have the job of a dead child settled at once; returns without waiting for it."""
    _deaths.put(death)


class SweepThread:
    """Sweeps each SWEEP_SECONDS, and at once for each child that died.

    Args:
        services: Of this thread alone; not pooled, as the process forks.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._between_forks = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self._failures = 0

    def start(self) -> None:
        """Begin with a sweep at once: a worker that comes back finds what it left."""
        os.register_at_fork(
            before=self._between_forks.acquire,
            after_in_parent=self._between_forks.release,
            after_in_child=self._between_forks.release,
        )
        self._thread.start()

    def stop(self) -> None:
        """End after the pass that is running."""
        _deaths.put(None)
        self._thread.join(timeout=10)
        self._services.close()

    def _run(self) -> None:
        next_sweep_at = time.monotonic()
        while True:
            try:
                death = _deaths.get(timeout=max(0.0, next_sweep_at - time.monotonic()))
            except queue.Empty:
                self._guard(self._sweep)
                next_sweep_at = time.monotonic() + self._pause_seconds()
                continue
            if death is None:
                return
            self._guard(partial(self._settle, death))

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
        self._note_presence()
        self._services.sweep()

    def _note_presence(self) -> None:
        """Let the API know that a worker is there (`CeleryDispatcher.check`)."""
        seconds = math.ceil(self._pause_seconds() * 3) + 1
        try:
            self._services.redis.set(keys.WORKER_SEEN, "1", ex=seconds)
        except RedisError as error:
            log.warning("presence not noted", reason=str(error)[:200])

    def _settle(self, death: DeadChild) -> None:
        self._services.sweeper.recover_of_dead_worker(
            death.job_id, death.owner, at_time_limit=death.at_time_limit
        )
