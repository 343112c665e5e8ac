"""Blocking like a library whose C code takes no notice of signals: the script `[[block]]`.

Imported only when that script is obeyed.
"""

import ctypes
import time

from shared.imaging.scripts import DAY_SECONDS


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


def block_in_c(seconds: float) -> None:
    """Block in a C call that releases the interpreter lock and that no signal ends.

    POSIX, pthread_cond_timedwait: "These functions shall not return an error code of [EINTR]."
    So a Python signal handler has to wait for its return, as with a real library that blocks.
    POSIX allows early returns; then a handler may run between two calls.
    """
    library = ctypes.CDLL(None)
    # Far more room than any platform's mutex or condition takes, and aligned for both.
    mutex, condition = (ctypes.c_uint64 * 32)(), (ctypes.c_uint64 * 32)()
    library.pthread_mutex_init(mutex, None)
    library.pthread_cond_init(condition, None)
    library.pthread_mutex_lock(mutex)
    ends_at_ns = time.time_ns() + int(min(seconds, DAY_SECONDS) * 1e9)
    ends_at = _Timespec(*divmod(ends_at_ns, 1_000_000_000))
    while time.time_ns() < ends_at_ns:
        library.pthread_cond_timedwait(condition, mutex, ctypes.byref(ends_at))
    library.pthread_mutex_unlock(mutex)
    library.pthread_cond_destroy(condition)
    library.pthread_mutex_destroy(mutex)
