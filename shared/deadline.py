"""Deadlines, and the signals that back them up.

A `Deadline` is the primary mechanism: every blocking call takes its timeout from it. The net
below it is a signal that raises in the main thread wherever it is. Signals are held back
(`shielded`) around everything but the provider call, so that none of them ever cuts a
database statement, a stored image or an event in half.
"""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from shared.errors import AttemptError, SoftTimeLimitReached

SOFT_LIMIT_SIGNALS = frozenset({signal.SIGUSR1, signal.SIGALRM})
"""SIGUSR1 is the one Celery's parent sends at the soft limit (billiard, pool.py,
`_on_soft_timeout`); SIGALRM is ours: the timer on Lambda, the lease keeper's call on both."""

_SHIELDED_SIGNALS = SOFT_LIMIT_SIGNALS | {signal.SIGTERM}

MARGIN_SECONDS = 15.0
MARGIN_SHARE = 0.05


class Deadline:
    """The instant (monotonic clock) at which an attempt must have stopped by itself.

    Args:
        soft_limit_seconds: The soft time limit, counted from `started_at`; the deadline lies a
            margin of 15 s or 5 %, whichever is less, before it.
        started_at: `time.monotonic()` at which the limit began to count; None means now.
        kill_seconds: After so long the runtime kills the process, also before TIME_LIMIT.
    """

    def __init__(
        self,
        soft_limit_seconds: float,
        started_at: float | None = None,
        kill_seconds: float = math.inf,
    ) -> None:
        self.soft_limit_seconds = soft_limit_seconds
        self.kill_seconds = kill_seconds
        margin = min(MARGIN_SECONDS, soft_limit_seconds * MARGIN_SHARE)
        start = time.monotonic() if started_at is None else started_at
        self._soft_limit_at = start + soft_limit_seconds
        self._at = self._soft_limit_at - margin

    def remaining_seconds(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self._at - time.monotonic())

    def seconds_to_soft_limit(self) -> float:
        """Return the seconds left until the limit itself, margin included, never below 0."""
        return max(0.0, self._soft_limit_at - time.monotonic())

    def timeout(self, at_most_seconds: float) -> float:
        """Return a timeout for one call: what is left, but no more than `at_most_seconds`.

        Raises:
            SoftTimeLimitReached: Nothing is left.
        """
        self.check()
        return min(at_most_seconds, self.remaining_seconds())

    def check(self) -> None:
        """Raise SoftTimeLimitReached once the deadline has passed."""
        if time.monotonic() >= self._at:
            raise SoftTimeLimitReached(self.soft_limit_seconds)


@contextmanager
def shielded() -> Iterator[None]:
    """Hold back the soft limit, the keeper's call and SIGTERM while a step must not be cut.

    A thread started in the body inherits the mask. That matters: a signal to the process is
    taken by any thread that lets it through, and Python then raises in the main thread.
    """
    with _masked(signal.SIG_BLOCK):
        yield


@contextmanager
def interruptible() -> Iterator[None]:
    """Let held-back signals through for the length of the provider call."""
    with _masked(signal.SIG_UNBLOCK):
        yield


@contextmanager
def _masked(how: int) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Runs the handlers of what has arrived: it may raise with the mask already changed.
        signal.pthread_sigmask(how, _SHIELDED_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def discard_pending_soft_limit() -> None:
    """Forget a soft limit that struck while it was held back and no longer matters."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SOFT_LIMIT_SIGNALS & signal.sigpending():
        # POSIX sigaction: setting a pending signal to be ignored discards it, blocked or not.
        handler = signal.signal(number, signal.SIG_IGN)
        signal.signal(number, handler)


class MainThreadInterrupt:
    """Raises an error in the main thread: at a set time, or at once on another thread's call.

    One object per process. Outside the main thread (a worker pool of threads) it does nothing,
    and the cooperative checks of the attempt remain.
    """

    def __init__(self) -> None:
        self._error: AttemptError | None = None

    def install(self) -> None:
        """Take over SIGALRM; a no-op outside the main thread."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, self._on_alarm)

    @contextmanager
    def after(self, seconds: float, error: AttemptError) -> Iterator[None]:
        """Raise `error` in the main thread if the body takes longer; always disarmed after.

        A timer left armed would fire inside awslambdaric's wait for the next invocation and
        end the runtime process.
        """
        if not self._is_installed():
            yield
            return
        self._error = error
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._error = None

    def interrupt(self, error: AttemptError) -> None:
        """Raise `error` in the main thread as soon as its signals are let through."""
        if self._is_installed():
            self._error = error
            main_thread_id = threading.main_thread().ident
            if main_thread_id is not None:
                signal.pthread_kill(main_thread_id, signal.SIGALRM)

    def _is_installed(self) -> bool:
        return signal.getsignal(signal.SIGALRM) == self._on_alarm

    def _on_alarm(self, _signum: int, _frame: FrameType | None) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
