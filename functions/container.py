"""What lives as long as a Lambda sandbox: made once at its start, used by every invocation.

The connection to Redis is opened here, the others at their first use. Each is checked after the
sandbox was frozen, and made anew when it turns out dead.
"""

import signal
import sys
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import NoReturn

from functions.secret_settings import load_function_settings
from shared.adapters.sqs_queue import SqsDispatcher
from shared.deadline import MainThreadInterrupt
from shared.generation.handler import GenerationHandler, RuntimeTraits
from shared.logs import configure_logging
from shared.settings import Settings
from shared.wiring import Services


@dataclass(frozen=True)
class Container:
    """The settings and services of one sandbox."""

    settings: Settings
    services: Services
    dispatcher: SqsDispatcher
    interrupt: MainThreadInterrupt

    @cached_property
    def handler(self) -> GenerationHandler:
        """What runs jobs in this sandbox."""
        # The soft limit's timer raises our own error; there is no other.
        return self.services.build_handler(RuntimeTraits((), _is_stopping), self.interrupt)


def build_container() -> Container:
    """Read the settings and make what all invocations use.

    Raises:
        ConfigurationError: A setting is missing or wrong, or Redis is in cluster mode.
    """
    settings = load_function_settings()
    configure_logging("lambda", settings.log_level)
    dispatcher = SqsDispatcher(settings)
    services = Services(settings, runtime="lambda", dispatcher=dispatcher)
    services.refuse_cluster_mode()
    interrupt = MainThreadInterrupt()
    interrupt.install()
    signal.signal(signal.SIGTERM, _leave)
    return Container(settings, services, dispatcher, interrupt)


def _leave(_signum: int, _frame: FrameType | None) -> NoReturn:
    """Leave at SIGTERM, through the handler: it hands its job back on the way."""
    sys.exit(0)


def _is_stopping() -> bool:
    # The handler holds SIGTERM back but for the provider call, so it waits here to be seen.
    return signal.SIGTERM in signal.sigpending()
