"""Retries while the API is unavailable: longer waits each time, and one message."""

import time
from collections.abc import Callable
from typing import TypeVar

from cli.errors import ApiProblem, ApiUnreachable

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
SILENT_FAILURES = 1
"""A connection that is cut off once is nothing to speak of: the next one goes on."""

T = TypeVar("T")


class Patience:
    """Waits between tries, for as long as it takes.

    Args:
        say: Called when the API becomes unavailable, and when it answers again.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._failures = 0

    def wait(self, error: ApiProblem | ApiUnreachable) -> None:
        """Wait before the next try; raise the error if that cannot help."""
        if isinstance(error, ApiProblem) and not error.is_passing:
            raise error
        self._failures += 1
        if self._failures == SILENT_FAILURES + 1:
            self._say(f"{_reason_of(error)}; trying on")
        seconds = FIRST_WAIT_SECONDS * 2 ** min(self._failures - 1, 10)
        asked = error.retry_after_seconds if isinstance(error, ApiProblem) else None
        time.sleep(min(max(seconds, asked or 0), LONGEST_WAIT_SECONDS))

    def succeeded(self) -> None:
        """Begin anew: the API has answered."""
        if self._failures > SILENT_FAILURES:
            self._say("the API answers again")
        self._failures = 0

    def until_it_works(self, call: Callable[[], T]) -> T:
        """Return what the call returns, once the API answers."""
        while True:
            try:
                result = call()
            except (ApiProblem, ApiUnreachable) as error:
                self.wait(error)
            else:
                self.succeeded()
                return result


def _reason_of(error: ApiProblem | ApiUnreachable) -> str:
    return error.detail if isinstance(error, ApiProblem) else str(error).partition(" (is ")[0]
