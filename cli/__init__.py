"""The command line `darkroom`: the local stack, a client of the API, maintenance.

This module knows how the program ends, whatever the command: errors become one line and a
signal becomes an orderly stop. It imports next to nothing, so that Ctrl-C is understood from
the first moment.
"""

import signal
import sys
from types import FrameType
from typing import NoReturn

SIGNAL_EXIT_BASE = 128
"""POSIX shells report the end by signal n as 128 + n."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Run the command that the arguments name; the console script `darkroom`."""
    for number in STOP_SIGNALS:
        _stop_at(number)

    from cli.errors import explained

    with explained():
        from cli.app import app

        app(prog_name="darkroom")


def _stop_at(number: signal.Signals) -> None:
    """Have the signal end the program through all its `finally` blocks.

    A hangup that was set to be ignored (nohup) stays ignored.
    """
    if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    # What follows is short, and leaves nothing behind only if it is not cut off.
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(SIGNAL_EXIT_BASE + number)
