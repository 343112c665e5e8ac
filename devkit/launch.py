"""Turns itself into a process that cannot outlive the one that started it.

Run as a script, so that no Python code runs between fork and exec of a parent that may have
threads; `launched` makes its command line. Arguments: the parent's process id, the signal to die
by, user and group id to run as (-1: unchanged), then the command. Imports little, because it
stands before every embedded server, runtime and function process.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""linux/prctl.h. The signal comes when the parent's *thread* that forked ends."""

SAME_ACCOUNT = (-1, -1)


def launched(
    command: list[str],
    death_signal: int = signal.SIGKILL,
    account: tuple[int, int] = SAME_ACCOUNT,
) -> list[str]:
    """Return the command line that runs `command` tied to the process which starts it.

    It runs as the user and group of `account`.
    """
    numbers = (os.getpid(), int(death_signal), *account)
    script = os.path.realpath(__file__)
    return [sys.executable, "-I", "-S", script, *map(str, numbers), *command]


def main() -> None:
    """Run the command given on the command line in place of this process."""
    parent_pid, death_signal, user_id, group_id = (int(word) for word in sys.argv[1:5])
    command = sys.argv[5:]
    try:
        if user_id >= 0:
            os.setgroups([])
            os.setgid(group_id)
            os.setuid(user_id)
        if sys.platform == "linux":
            # After setuid: a change of user id clears the request (man 2 prctl).
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent_pid:
            sys.exit("the starting process has ended")
        os.execv(command[0], command)  # noqa: S606 - replacing this process is its purpose
    except OSError as error:
        sys.exit(f"cannot run {command[0]} as user {user_id}: {error}")


if __name__ == "__main__":
    main()
