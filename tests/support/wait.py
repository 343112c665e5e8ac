"""Waiting for what other threads and processes do, without sleeping for a guessed time."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_SECONDS = 0.02

T = TypeVar("T")


def wait_until(predicate: Callable[[], T | None], within: float, saying: str) -> T:
    """Poll until the predicate returns something true, and return that.

    Args:
        predicate: Asked every 20 ms; what it raises ends the wait.
        within: Seconds to wait at most; asked once more at the end of them.
        saying: What is being waited for, in the words of a failure.

    Raises:
        AssertionError: It stayed false; names `saying` and the last value.
    """
    deadline = time.monotonic() + within
    while True:
        is_over = time.monotonic() >= deadline
        value = predicate()
        if value:
            return value
        if is_over:
            raise AssertionError(f"{saying} (waited {within:g} s, last value: {value!r})")
        time.sleep(POLL_SECONDS)
