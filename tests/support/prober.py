"""A process that sends requests at a steady rate, and notes how long each answer takes.

The first line of its input is JSON: the port, the seconds between two requests of a kind, and the
requests by their names, see `Probe`. Prints JSON when its input ends. How late its own threads
wake up stands there as `lag`: what is no fault of the server.
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 60.0


@dataclass
class Probe:
    """Requests of one kind.

    Attributes:
        is_new: Whether each has a connection of its own.
    """

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    is_new: bool = False
    seconds: list[float] = field(default_factory=list, init=False)
    seen: Counter[str] = field(default_factory=Counter, init=False)
    sent_at: float | None = field(default=None, init=False)

    def repeat(self, port: int, every_seconds: float, stop: threading.Event) -> None:
        """Send one after the other; a slow answer delays the next request."""
        connection = None
        while not stop.wait(every_seconds):
            self.sent_at = time.monotonic()
            try:
                if connection is None or self.is_new:
                    connection = http.client.HTTPConnection("127.0.0.1", port, TIMEOUT_SECONDS)
                connection.request(self.method, self.path, self.body, self.headers)
                answer = connection.getresponse()
                answer.read()
                self.seen[str(answer.status)] += 1
                if self.is_new:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.seen[type(error).__name__] += 1
                connection = None
            self.seconds.append(time.monotonic() - self.sent_at)
            self.sent_at = None

    def report(self) -> dict[str, Any]:
        """Return what was seen; a request without an answer yet counts as long as it has waited."""
        seconds = list(self.seconds)
        if self.sent_at is not None:
            seconds.append(time.monotonic() - self.sent_at)
            self.seen["no answer yet"] += 1
        return {"seen": self.seen, **quantiles(seconds)}


def quantiles(seconds: list[float]) -> dict[str, int | None]:
    """Return median, 99th percentile and the greatest, in milliseconds; None of nothing."""
    ordered = sorted(round(each * 1000) for each in seconds)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    if not ordered:
        return dict.fromkeys(shares)
    return {name: ordered[int((len(ordered) - 1) * share)] for name, share in shares.items()}


def _note_lag(lags: list[float], stop: threading.Event) -> None:
    while not stop.is_set():
        began_at = time.monotonic()
        time.sleep(0.01)
        lags.append(time.monotonic() - began_at - 0.01)


def main() -> None:
    """Probe until the input ends."""
    wanted = json.loads(sys.stdin.readline())
    stop, lags = threading.Event(), list[float]()
    probes = {name: Probe(**probe) for name, probe in wanted["probes"].items()}
    threading.Thread(target=_note_lag, args=(lags, stop), daemon=True).start()
    for probe in probes.values():
        arguments = (wanted["port"], wanted["every_seconds"], stop)
        threading.Thread(target=probe.repeat, args=arguments, daemon=True).start()
    sys.stdin.read()
    stop.set()
    time.sleep(wanted["every_seconds"])
    found = {name: probe.report() for name, probe in probes.items()}
    print(json.dumps({**found, "lag": quantiles(lags)}), flush=True)


if __name__ == "__main__":
    main()
