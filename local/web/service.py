"""A program that serves until it is asked to stop: its settings, its one-line errors, its end."""

import sys
from collections.abc import Callable
from typing import Protocol

from shared.errors import ConfigurationError, ServiceUnavailable
from shared.logs import configure_logging
from shared.settings import Settings, load_settings

FAILURE_EXIT_CODE = 1
CONFIGURATION_EXIT_CODE = 2


class Service(Protocol):
    """What a program runs."""

    def run(self) -> None:
        """Serve until asked to stop."""
        ...


def run_service(name: str, build: Callable[[Settings], Service]) -> int:
    """Build a service from the settings of the environment and run it; return the exit code.

    One line on standard error says why it could not begin: 2 for what the caller must change,
    1 for what is away.

    Args:
        name: What its lines in the log call it.
        build: Makes the service; raises ConfigurationError or ServiceUnavailable if it cannot.
    """
    try:
        settings = load_settings()
        configure_logging(name, settings.log_level)
        service = build(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return CONFIGURATION_EXIT_CODE
    except ServiceUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return FAILURE_EXIT_CODE
    service.run()
    return 0
