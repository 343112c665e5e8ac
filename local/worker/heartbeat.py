"""HEARTBEAT_FILE, for health checks: touched while a worker or beat does its work.

A worker that waits for Redis or is stuck does not touch it.
"""

from pathlib import Path
from typing import Any

import structlog
from celery import bootsteps
from celery.beat import Scheduler

from shared.errors import one_line

HEARTBEAT_SECONDS = 5.0

log = structlog.get_logger(__name__)


class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Touches the file from the event loop of a worker's consumer, which receives the messages.

    A step of the consumer, which starts it anew after each lost connection to Redis.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **_options: Any) -> None:
        super().__init__(consumer)
        self._path: Path | None = consumer.app.darkroom_settings.heartbeat_file

    def start(self, consumer: Any) -> None:
        """Start touching the file."""
        if self._path is not None:
            beat(self._path)
            consumer.timer.call_repeatedly(HEARTBEAT_SECONDS, beat, (self._path,))


class BeatScheduler(Scheduler):  # type: ignore[misc] # Celery has no types
    """The schedule of Celery beat, kept in memory: after a restart each task is due again."""

    max_interval = HEARTBEAT_SECONDS

    def tick(self, *args: Any, **options: Any) -> float:
        """Send what is due; return the seconds until something may be."""
        path = self.app.darkroom_settings.heartbeat_file
        if path is not None:
            beat(path)
        seconds: float = super().tick(*args, **options)
        return seconds


def beat(path: Path) -> None:
    """Touch the file; a folder that cannot be written to fails the health check, not the work."""
    try:
        path.touch()
    except OSError as error:
        log.warning("no heartbeat", reason=one_line(str(error)))
