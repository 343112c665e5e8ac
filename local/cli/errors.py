"""How errors look on the terminal: one line, and an exit code that tells whose turn it is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import (
    ConfigurationError,
    DarkroomError,
    InvalidRequest,
    JobFailed,
    one_line,
)

FAILURE_EXIT_CODE = 1
USAGE_EXIT_CODE = 2
"""Settings or arguments are to be changed; typer ends with the same code."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error of the body into a line on standard error and the end of the program."""
    try:
        yield
    except DarkroomError as error:
        sys.stderr.write(f"darkroom: {describe(error)}\n")
        sys.exit(exit_code_of(error))


def describe(error: DarkroomError) -> str:
    """Return the error as one line for a person."""
    if isinstance(error, JobFailed):
        return one_line(f"the job failed: {error.message} ({error.failure_code})")
    return one_line(str(error))


def exit_code_of(error: DarkroomError) -> int:
    """Return 2 for what the caller must change, 1 for everything else."""
    is_usage = isinstance(error, ConfigurationError | InvalidRequest)
    return USAGE_EXIT_CODE if is_usage else FAILURE_EXIT_CODE
