"""A script that becomes a command which dies with its parent, even when that is killed.

Run by `local.lambda_host.runtime_process` as `python -I -S tether.py <parent pid> <command>`, so
it imports little. A frozen function process cannot notice by itself that its host is gone.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""<linux/prctl.h>: the signal to get when the parent dies; survives execve (prctl(2))."""


def main(parent_pid: int, command: list[str]) -> None:
    """Tie this process to its parent, then become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # It died before it could be watched.
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the command comes from the host's own code


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
