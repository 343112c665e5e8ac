"""Turns itself into a process that cannot outlive the one that started it.

Run as a script, so that nothing has to run between fork and exec of a parent that may have
threads; `launched` makes its command line. Arguments: the parent's process id, the signal to die
by, user and group id to run as (-1: unchanged), then the command. Imports little: it stands
before every embedded server, runtime and function process.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""linux/prctl.h. The signal comes when the parent's *thread* that forked ends."""


def launched(
    command: list[str],
    death_signal: int = signal.SIGKILL,
    user_id: int = -1,
    group_id: int = -1,
) -> list[str]:
    """Return the command line that runs `command` tied to the process which starts it."""
    numbers = (os.getpid(), int(death_signal), user_id, group_id)
    script = os.path.realpath(__file__)
    return [sys.executable, "-I", "-S", script, *(str(number) for number in numbers), *command]


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
