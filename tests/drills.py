"""The drills at full size: `make drill JOBS=500`, on both runtimes.

Webhooks to receivers that misbehave, while every process is killed twice and PostgreSQL restarts;
then a provider that fails a fifth as many jobs, which are retried when it is back.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import quantiles

from devkit.runtimes import RUNTIMES
from tests.support.drills import (
    kill_and_start,
    play_outage,
    play_webhooks,
    restart_postgres,
    with_receivers,
)
from tests.support.images_api import ImagesApi
from tests.support.receiver import receiving
from tests.support.runtime import TIMINGS, Runtime

WEBHOOKS = {
    "WEBHOOK_PRIVATE_NETWORKS": "true",
    "WEBHOOK_RETRY_SECONDS": "1,1,2,2,4,4",
    "WEBHOOK_TIMEOUT_SECONDS": "1",
}
FAULTS = (kill_and_start, restart_postgres, kill_and_start)
PATIENCE_SECONDS = 3600.0
ROUNDS = 5


def main(arguments: Sequence[str]) -> int:
    """Play both drills; return the exit code."""
    parser = argparse.ArgumentParser("python -m tests.drills", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--on", choices=RUNTIMES, action="append", help="default: each")
    options = parser.parse_args(arguments)
    for name in options.on or RUNTIMES:
        _pace(name, options.jobs)
        _webhooks(name, options.jobs)
        _outage(name, -(-options.jobs // 5))
    return 0


def _webhooks(name: str, jobs: int) -> None:
    with _runtime(name, WEBHOOKS) as runtime, receiving() as receiver:
        began_at = time.monotonic()
        requests = play_webhooks(runtime, receiver, jobs, FAULTS, PATIENCE_SECONDS)
        _say(
            f"{name}: {jobs} jobs, 7 receivers, {requests} requests, every event delivered;"
            f" {time.monotonic() - began_at:.0f} s"
        )


def _outage(name: str, jobs: int) -> None:
    with ImagesApi() as images_api, _runtime(name, images_api.environment) as runtime:
        began_at = time.monotonic()
        play_outage(runtime, images_api, jobs, PATIENCE_SECONDS)
        seconds = time.monotonic() - began_at
        _say(f"{name}: {jobs} jobs failed and brought {jobs} pictures; {seconds:.0f} s")


@contextmanager
def _runtime(name: str, settings: Mapping[str, str]) -> Iterator[Runtime]:
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        # Root's PostgreSQL runs under another account, which must get through.
        Path(folder).chmod(0o711)
        with closing(Runtime(name, Path(folder), {**TIMINGS, **settings})) as runtime:
            yield runtime


def _pace(name: str, jobs: int) -> None:
    """Run jobs one after another, without webhooks and with, in turns; say what a job takes."""
    alone: list[float] = []
    beside: list[float] = []
    with _runtime(name, WEBHOOKS) as runtime, receiving() as receiver:
        for _ in range(ROUNDS):
            alone += _seconds(runtime, jobs // (2 * ROUNDS))
            with with_receivers(runtime, receiver):
                beside += _seconds(runtime, jobs // (2 * ROUNDS))
    _say(
        f"{name}: a job takes {_quantiles(alone)} ms alone, {_quantiles(beside)} ms beside 7"
        f" receivers (median and p90 of {len(alone)} jobs each, {ROUNDS} rounds in turns)"
    )


def _seconds(runtime: Runtime, jobs: int) -> list[float]:
    """Run jobs one after another; return the seconds from each submission to its end."""
    ended = [runtime.finish(runtime.submit("a mug"), PATIENCE_SECONDS).job for _ in range(jobs)]
    return [(job["finished_at"] - job["created_at"]).total_seconds() for job in ended]


def _quantiles(seconds: Sequence[float]) -> str:
    deciles = quantiles(seconds, n=10)
    return f"{deciles[4] * 1000:.0f} and {deciles[8] * 1000:.0f}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
