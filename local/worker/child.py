"""What one worker process lives with: made in the child, after the fork, never shared over it."""

import mmap
import os
from typing import ClassVar

from celery.exceptions import SoftTimeLimitExceeded

from shared.deadline import MainThreadInterrupt
from shared.generation.handler import GenerationHandler, RuntimeTraits
from shared.settings import Settings
from shared.wiring import Services

STOP_FLAG = mmap.mmap(-1, 1)
"""One byte that the parent and its children share: set once the worker is told to stop."""


def announce_stop() -> None:
    """Tell the children, from the parent, to begin no more provider calls."""
    STOP_FLAG[0] = 1


def is_stopping() -> bool:
    """Return whether the worker was told to stop."""
    return STOP_FLAG[0] == 1


class WorkerProcess:
    """The handler of this process and its connections."""

    _current: ClassVar["WorkerProcess | None"] = None

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        self.services = Services(settings, runtime="celery")
        interrupt = MainThreadInterrupt()
        interrupt.install()
        traits = RuntimeTraits((SoftTimeLimitExceeded,), is_stopping)
        self.handler: GenerationHandler = self.services.build_handler(traits, interrupt)

    @classmethod
    def current(cls, settings: Settings) -> "WorkerProcess":
        """Return that of this process; one inherited over a fork is not this process's."""
        if cls._current is None or cls._current.pid != os.getpid():
            cls._current = cls(settings)
        return cls._current
