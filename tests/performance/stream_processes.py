"""The processes around a server of event streams, as the bench holds them: clients, publisher."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

NANOSECONDS_OF_MS = 1_000_000


@dataclass(frozen=True)
class Window:
    """From when to when something was published, in nanoseconds of CLOCK_MONOTONIC."""

    begin: int
    end: int


class _Helper(AbstractContextManager["_Helper"]):
    """A module that runs in a process of its own and talks over its standard streams."""

    def __init__(self, module: str, first_line: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._send(json.dumps(first_line))

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} has ended")
        return line.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


class Listeners(_Helper):
    """The processes that receive the events; see `stream_clients` for the modes.

    Returns when all of them listen.
    """

    def __init__(self, wanted: dict[str, Any]) -> None:
        super().__init__("tests.performance.stream_clients", wanted)
        self._read()

    def finish(self) -> list[tuple[int, int]]:
        """Stop listening, and return when each event was published and when it came."""
        output, _ = self._process.communicate("\n")
        numbers = [int(word) for word in output.split()]
        return list(zip(numbers[::2], numbers[1::2], strict=True))


class Publisher(_Helper):
    """Who publishes the events."""

    def __init__(self, task_ids: Sequence[str]) -> None:
        super().__init__("tests.performance.stream_publisher", task_ids)

    def spread(self, seconds: float) -> Window:
        """Send every job an event a second, evenly spread."""
        return self._order(f"spread {seconds}")

    def burst(self) -> Window:
        """Send every job an event at once."""
        return self._order("burst")

    def _order(self, line: str) -> Window:
        self._send(line)
        begin, end = self._read().split()
        return Window(int(begin), int(end))


def latencies_ms(arrivals: Sequence[tuple[int, int]], window: Window) -> list[float]:
    """Return how long each event of a window took, shortest first."""
    return sorted(
        (arrival - stamp) / NANOSECONDS_OF_MS
        for stamp, arrival in arrivals
        if window.begin <= stamp <= window.end
    )
