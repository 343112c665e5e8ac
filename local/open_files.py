"""Open files: a process may have as many as its account, and the web server keeps some free."""

import resource
import sys
from contextlib import suppress

RESERVED_FILES = 128
"""For connections to PostgreSQL, Redis and the queue, pictures, uploads and logs."""


def raise_open_files() -> int:
    """Let this process open as many files as its hard limit allows, and return how many.

    The soft limit is 1,024 by default, for the sake of programs that use `select`.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS allows less than it says.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return open_files_max()


def open_files_max() -> int:
    """Return how many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def connections_of(files: int) -> int:
    """Return how many clients may be connected where a process may open so many files."""
    return files - min(RESERVED_FILES, files // 2)


def streams_of(files: int) -> int:
    """Return how many streams may be open then: connections are left for other requests."""
    return connections_of(files) * 3 // 4


def streams_of_a_workspace(files: int) -> int:
    """Return how many of them one workspace may have."""
    return streams_of(files) // 2
