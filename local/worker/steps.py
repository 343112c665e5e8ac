"""What a Celery worker does besides Celery: sweeps, and stops as the spec of a job asks."""

import mmap
import os
import signal
import threading
import time
from typing import Any

import structlog
from celery import bootsteps, signals

from local.worker.sweeping import SweepThreads
from shared.wiring import Services

STOP_FLAG = mmap.mmap(-1, 1)
"""One byte that the parent and its children share: set once the worker is stopping."""

log = structlog.get_logger(__name__)


def is_stopping() -> bool:
    """Return whether the worker is stopping: its children then begin no provider call."""
    return STOP_FLAG[0] == 1


class SweepStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Runs the sweep beside the worker, from after the first fork to before the last join."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_options: Any) -> None:
        super().__init__(worker)
        services = Services(
            worker.app.darkroom_settings, runtime="celery", threads=SweepThreads.COUNT + 1
        )
        slots = max(worker.concurrency, worker.max_concurrency or 0)
        self._threads = SweepThreads(services, slots)

    def start(self, _worker: Any) -> None:
        """Start sweeping."""
        self._threads.start()

    def stop(self, _worker: Any) -> None:
        """Stop sweeping."""
        self._threads.stop()

    def terminate(self, worker: Any) -> None:
        """Stop sweeping, in a cold shutdown."""
        self.stop(worker)


@signals.worker_shutting_down.connect
def _stop_in_time(sig: str, how: str, **_options: Any) -> None:
    """Let running provider calls end, for SHUTDOWN_GRACE_SECONDS at most, then give up jobs.

    Celery's warm shutdown would wait up to the hard time limit; its cold one, which SIGQUIT
    starts, ends the children, whose handlers then hand their jobs back.
    """
    from local.celery_app import celery_app

    STOP_FLAG[0] = 1
    if how != "Warm":
        return
    grace_seconds = celery_app.darkroom_settings.shutdown_grace_seconds
    # In a thread, because this is called from a signal handler, and the main thread that it
    # interrupted may hold the lock of the log.
    threading.Thread(target=_stop_after, args=(sig, grace_seconds), daemon=True).start()


def _stop_after(sig: str, grace_seconds: float) -> None:
    log.info("worker stops", signal=sig, grace_seconds=grace_seconds)
    time.sleep(grace_seconds)
    os.kill(os.getpid(), signal.SIGQUIT)
