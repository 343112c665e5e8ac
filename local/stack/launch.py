"""Turns itself into a server that cannot outlive the process that started it.

Run as a script by `local.stack.server`, so that nothing has to run between fork and exec of a
parent that may have threads. Arguments: the parent's process id, the signal to die by, user and
group id to run as (-1: unchanged), then the command.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
"""linux/prctl.h. The signal comes when the parent's *thread* that forked ends."""


def become(user_id: int, group_id: int) -> None:
    """Give up root for good; -1 changes nothing."""
    if user_id >= 0:
        os.setgroups([])
        os.setgid(group_id)
        os.setuid(user_id)


def die_with(parent_pid: int, death_signal: int) -> None:
    """Ask the kernel to end this process when its parent dies (Linux only).

    Must follow `become`: a change of user id clears the request (man 2 prctl).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit("the starting process is gone")


def main() -> None:
    """Run the command given on the command line in place of this process."""
    parent_pid, death_signal, user_id, group_id = (int(word) for word in sys.argv[1:5])
    command = sys.argv[5:]
    try:
        become(user_id, group_id)
        die_with(parent_pid, death_signal)
        os.execv(command[0], command)  # noqa: S606 - replacing this process is its purpose
    except OSError as error:
        sys.exit(f"cannot run {command[0]} as user {user_id}: {error}")


if __name__ == "__main__":
    main()
