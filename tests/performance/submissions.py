"""Submissions a second through one API process, against a bare route, run by run in turn."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from redis import Redis

from devkit.stack import embedded_stack
from shared.access.api_keys import ApiKeyStore
from shared.jobs.migration import migrate
from shared.settings import load_settings
from shared.wiring import Services
from tests.performance.web_process import WebProcess

ROUNDS = 5
ROUND_SECONDS = 5.0
CONNECTIONS = 16

_SETTINGS = {
    "REQUIRE_API_KEYS": "true",
    "SIGNING_KEY": "0123456789abcdef0123456789abcdef",
    "MAX_OPEN_JOBS": "1000000",
    "LOG_LEVEL": "INFO",
}


@dataclass(frozen=True)
class Rate:
    """Requests a second, and the 99th percentile of their milliseconds."""

    a_second: float
    p99_ms: float


@dataclass(frozen=True)
class SubmissionComparison:
    """The API and the bare route, round by round."""

    ours: list[Rate]
    bare: list[Rate]

    def describe(self) -> str:
        """Return the figures as a line."""
        pairs = list(zip(self.ours, self.bare, strict=True))
        ratios = [ours.a_second / bare.a_second for ours, bare in pairs]
        p99s = [ours.p99_ms / bare.p99_ms for ours, bare in pairs]
        return (
            f"ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to"
            f" {max(ratios):.2f}, {len(ratios)} pairs); ours {_describe(self.ours)},"
            f" bare {_describe(self.bare)}; ratio of the p99 {statistics.median(p99s):.2f}"
        )


def compare_submissions(rounds: int = ROUNDS) -> SubmissionComparison:
    """Submit to both, in turn, against the same servers; nothing takes from the queue."""
    comparison = SubmissionComparison([], [])
    with tempfile.TemporaryDirectory() as folder, embedded_stack() as stack:
        os.environ.update(stack.environment)
        settings = {**os.environ, **_SETTINGS, "IMAGE_DIR": folder}
        migrate(load_settings().database_url)
        key = _make_key()
        with (
            WebProcess("local.api", settings, Path(folder, "ours.log")).running() as ours,
            WebProcess(
                "tests.performance.bare_submissions", settings, Path(folder, "bare.log")
            ).running() as bare,
        ):
            for _ in range(rounds):
                comparison.ours.append(_submit(ours, key))
                comparison.bare.append(_submit(bare, key))
    return comparison


def _make_key() -> str:
    with Services(load_settings()) as services:
        return ApiKeyStore(services.engine).create("default", "bench")[1]


def _submit(server: WebProcess, key: str) -> Rate:
    _empty()
    wanted = {
        "port": server.port,
        "key": key,
        "connections": CONNECTIONS,
        "seconds": ROUND_SECONDS,
    }
    output = subprocess.run(
        [sys.executable, "-m", "tests.performance.submission_clients"],
        input=json.dumps(wanted) + "\n",
        env=os.environ,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    count, seconds, *milliseconds = (float(word) for word in output.split())
    p99 = statistics.quantiles(milliseconds, n=100)[98]
    return Rate(count / seconds, p99)


def _empty() -> None:
    """Take away the rows, the events and the queue, but not what kombu has declared."""
    with closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection:
        connection.autocommit = True
        connection.cursor().execute("TRUNCATE generation_jobs CASCADE")
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        names = [name for name in redis.scan_iter(count=1000) if not name.startswith(b"_kombu")]
        for first in range(0, len(names), 1000):
            redis.unlink(*names[first : first + 1000])


def _describe(rates: list[Rate]) -> str:
    a_second = statistics.median(rate.a_second for rate in rates)
    p99_ms = statistics.median(rate.p99_ms for rate in rates)
    return f"{a_second:.0f} requests/s with a p99 of {p99_ms:.0f} ms"


if __name__ == "__main__":
    print(compare_submissions().describe())
