"""Runs a module as `python -m` would, in a process that collects its garbage at SIGUSR1.

So that what is measured is the memory that is needed. Usage: `collecting MODULE [ARGUMENTS]`.
"""

import gc
import runpy
import signal
import sys
import threading


def _collect_on_request() -> None:
    while True:
        signal.sigwait({signal.SIGUSR1})
        gc.collect()


def main() -> None:
    """Run the module that the command line names."""
    # Blocked in every thread, and waited for by one that has nothing else to do.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    threading.Thread(target=_collect_on_request, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
