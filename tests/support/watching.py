"""What an attack does to the processes of a runtime, and to the clients that mean no harm."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import Any

import psutil

from tests.support.hostile_clients import Crowd
from tests.support.prober import Probe

EVERY_SECONDS = 0.05
MEBIBYTE = 1 << 20
HEALTH = Probe("GET", "/healthz", is_new=True)


@dataclass
class Watch:
    """What was seen during an attack.

    Attributes:
        before: Resident MB of each process that was asked for, and of all its children.
        peak: The greatest of each.
        answers: Of the prober, by the names of its probes; `lag` is its own.
    """

    before: dict[str, int] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)

    @property
    def peak_mebibytes(self) -> int:
        """Of all processes together."""
        return sum(self.peak.values())

    def memory(self) -> str:
        """Return the memory of all processes in one line."""
        return ", ".join(f"{name} {self.before[name]} to {self.peak[name]}" for name in self.peak)

    def times(self, name: str) -> str:
        """Return how long the answers to a probe took, in ms."""
        found = self.answers.get(name, {})
        return " / ".join(str(found.get(each)) for each in ("p50", "p99", "max"))


@contextmanager
def watching(
    pids: Mapping[str, int], port: int, probes: Mapping[str, Probe], every_seconds: float
) -> Iterator[Watch]:
    """Watch processes, and send probes from another process, for the length of a block."""
    watch, stop = Watch(), threading.Event()
    watch.before = _memory_of(pids)
    watch.peak = {**watch.before}

    def look() -> None:
        while not stop.wait(EVERY_SECONDS):
            for name, size in _memory_of(pids).items():
                watch.peak[name] = max(watch.peak[name], size)

    thread = threading.Thread(target=look)
    thread.start()
    sent = {name: _given(probe) for name, probe in probes.items()}
    wanted = {"port": port, "every_seconds": every_seconds, "probes": sent}
    try:
        with _asked("tests.support.prober", wanted) as prober:
            yield watch
            watch.answers = json.loads(prober.communicate("")[0])
    finally:
        stop.set()
        thread.join()


@contextmanager
def crowd(port: int, count: int, *requests: bytes, **options: Any) -> Iterator[Counter[str]]:
    """Have so many hostile clients, in another process, for the length of a block; see `Crowd`.

    The value holds the statuses of their answers, at first those that came while they opened.
    """
    texts = [request.decode("latin-1") for request in requests]
    wanted = _given(Crowd(port, count, texts, **options))
    with _asked("tests.support.hostile_clients", wanted) as process:
        assert process.stdout is not None
        seen = Counter[str](json.loads(process.stdout.readline()))
        yield seen
        seen.update(Counter(json.loads(process.communicate("")[0])) - seen)


def _given(thing: Probe | Crowd) -> dict[str, Any]:
    return {each.name: getattr(thing, each.name) for each in fields(thing) if each.init}


@contextmanager
def _asked(module: str, wanted: Mapping[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    """Run a module in a process, with one line of JSON as its first input."""
    with subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(f"{json.dumps(wanted)}\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def _memory_of(pids: Mapping[str, int]) -> dict[str, int]:
    """Return the MB of each process, and of all that it has started."""
    found = dict[str, int]()
    for name, pid in pids.items():
        found[name], found[f"children of {name}"] = 0, 0
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found[name] = process.memory_info().rss // MEBIBYTE
            for child in process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    found[f"children of {name}"] += child.memory_info().rss // MEBIBYTE
    return found
