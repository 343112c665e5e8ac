"""Keeps callers from waiting, one after the other, for a server that does not answer.

One for Redis in each process: what carries events and envelopes shares it. The rates of requests
have another.
"""

import time

PAUSE_SECONDS = 2.0
"""Nothing is sent for so long after a failure: a frozen Redis costs at most half of the time."""


class Breaker:
    """Says whether a server may be asked: once it has failed, by one caller at a time."""

    def __init__(self) -> None:
        self._try_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server has just failed, or one caller tries it."""
        return self._try_at is not None and time.monotonic() < self._try_at

    def admits(self) -> bool:
        """Return whether to ask the server now; the caller then calls `open` or `close`."""
        if self.is_open:
            return False
        if self._try_at is not None:
            # Others do not wait with this caller.
            self._try_at = time.monotonic() + PAUSE_SECONDS
        return True

    def open(self) -> None:
        """Note that the server did not answer, or refused to work."""
        self._try_at = time.monotonic() + PAUSE_SECONDS

    def close(self) -> None:
        """Note that it works, or is to be tried all the same."""
        self._try_at = None
