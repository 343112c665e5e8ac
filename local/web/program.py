"""Running a server program: settings, one-line errors at the start, exit codes."""

import sys
from collections.abc import Callable
from typing import Protocol

from shared.errors import ConfigurationError, ServiceUnavailable
from shared.logs import configure_logging
from shared.settings import Settings, load_settings

FAILURE_EXIT_CODE = 1
CONFIGURATION_EXIT_CODE = 2


class Program(Protocol):
    """A server that runs until SIGTERM or SIGINT."""

    def run(self) -> None:
        """Serve until asked to stop."""
        ...


def run_program(name: str, build: Callable[[Settings], Program]) -> int:
    """Build a program from the settings of the environment, run it, and return the exit code.

    If it cannot start, one line on standard error gives the reason: exit code 2 for what the user
    must change, 1 for a server that is unavailable.

    Args:
        name: Its name in the log.
        build: Makes the program; may raise ConfigurationError or ServiceUnavailable.
    """
    try:
        settings = load_settings()
        configure_logging(name, settings.log_level)
        program = build(settings)
    except (ConfigurationError, ServiceUnavailable) as error:
        sys.stderr.write(f"{error}\n")
        is_ours = isinstance(error, ServiceUnavailable)
        return FAILURE_EXIT_CODE if is_ours else CONFIGURATION_EXIT_CODE
    program.run()
    return 0
