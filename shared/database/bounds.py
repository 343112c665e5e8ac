"""Bounds on the client's side for PostgreSQL: one that hangs keeps no timeout of its own.

A stopped server process, a stalled disk and a half-open connection leave a client waiting, and
psycopg2 cannot be interrupted. So a thread shuts down the connection under a statement that takes
too long, which then fails as if the connection was lost. After a server did not answer, no other
connection is tried for a moment, so that a hundred requests do not wait one after another.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import connection, cursor

from shared.deadline import shielded

STATEMENT_SECONDS = 6.0
"""More than statement_timeout, which gives the better reason."""

CHECK_SECONDS = 2.0
"""For a statement that any server answers at once."""

SLOW_SECONDS = 1.0
"""A server that refuses a connection does so at once; one that hangs takes longer."""

PAUSE_SECONDS = 1.0

_TICK_SECONDS = 0.25
_IDLE_TICKS = 40

T = TypeVar("T")


class _Watch:
    """Shuts down the connections whose statements take too long; one a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[float, int]] = {}
        self._thread: threading.Thread | None = None

    def bound(self, call: Callable[[], T], file_number: int, seconds: float) -> T:
        """Make a call that reads from a connection."""
        entry = threading.get_ident()
        with self._lock:
            self._waiting[entry] = (time.monotonic() + seconds, file_number)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                with shielded():
                    self._thread.start()
        try:
            return call()
        finally:
            with self._lock:
                self._waiting.pop(entry, None)

    def _run(self) -> None:
        idle_ticks = 0
        while True:
            time.sleep(_TICK_SECONDS)
            with self._lock:
                idle_ticks = 0 if self._waiting else idle_ticks + 1
                if idle_ticks >= _IDLE_TICKS:
                    self._thread = None
                    return
                now = time.monotonic()
                for entry, (until, file_number) in list(self._waiting.items()):
                    if now >= until:
                        del self._waiting[entry]
                        _shut_down(file_number)


_watch = _Watch()


def _watch_anew() -> None:
    global _watch
    _watch = _Watch()


os.register_at_fork(after_in_child=_watch_anew)


def _shut_down(file_number: int) -> None:
    # The number stays psycopg2's own: it is closed where it was opened.
    with suppress(OSError), socket.socket(fileno=os.dup(file_number)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


class BoundedCursor(cursor):
    """A cursor whose statements end within `seconds`, one way or another."""

    seconds = STATEMENT_SECONDS

    def execute(self, query: Any, parameters: Any = None) -> None:
        """Execute a statement."""
        _watch.bound(
            lambda: super(BoundedCursor, self).execute(query, parameters),
            self.connection.fileno(),
            self.seconds,
        )


class BoundedConnection(connection):
    """A connection whose transactions end within `STATEMENT_SECONDS`, one way or another."""

    def commit(self) -> None:
        """Commit the transaction."""
        _watch.bound(super().commit, self.fileno(), STATEMENT_SECONDS)

    def rollback(self) -> None:
        """Roll back the transaction."""
        _watch.bound(super().rollback, self.fileno(), STATEMENT_SECONDS)


class Breaker:
    """Tries no connection for a moment after one that was not answered."""

    def __init__(self, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._is_broken = False
        self._try_at = 0.0

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """Open a connection.

        Raises:
            psycopg2.OperationalError: The server refused it, or did not answer.
        """
        started_at = time.monotonic()
        if self._is_broken:
            if started_at < self._try_at:
                raise psycopg2.OperationalError("the server did not answer a moment ago")
            # The others wait for the outcome of this one.
            self._try_at = started_at + self._connect_seconds + PAUSE_SECONDS
        try:
            opened = psycopg2.connect(*arguments, **options)
        except psycopg2.OperationalError:
            ended_at = time.monotonic()
            self._is_broken = ended_at - started_at >= SLOW_SECONDS
            self._try_at = ended_at + PAUSE_SECONDS
            raise
        self._is_broken = False
        return opened
