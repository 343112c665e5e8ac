"""Waiting for what other threads and processes do, without sleeping for a guessed time."""

import asyncio
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


async def until(predicate: Callable[[], object], within: float = 15.0) -> None:
    """Wait, letting the other tasks of the event loop run, until the predicate is true.

    Raises:
        TimeoutError: It stayed false.
    """
    async with asyncio.timeout(within):
        while not predicate():
            await asyncio.sleep(POLL_SECONDS / 4)


async def turn() -> None:
    """Let every other task of the event loop have its turn."""
    await asyncio.sleep(0)
