"""How long the Lambda worker takes to import, against the libraries it cannot do without."""

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass

RUNS = 11

_CLOCK = "import time; begin = time.process_time(); {}; print(time.process_time() - begin)"
_LIBRARIES = _CLOCK.format(
    "import sqlalchemy.orm, psycopg2, redis, pydantic_settings, structlog, boto3;"
    " boto3.client('sqs')"
)
_WORKER = _CLOCK.format("import functions.worker; functions.worker.container.handler")

_ENVIRONMENT = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "QUEUE_URL": "http://127.0.0.1:1/queue",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}


@dataclass(frozen=True)
class ImportTimes:
    """Processor milliseconds of both, run by run."""

    worker: list[float]
    libraries: list[float]

    def describe(self) -> str:
        """Return the figures as a line."""
        ratios = [ours / base for ours, base in zip(self.worker, self.libraries, strict=True)]
        return (
            f"ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f},"
            f" {len(ratios)} pairs); worker {statistics.median(self.worker):.0f} ms,"
            f" libraries {statistics.median(self.libraries):.0f} ms CPU"
        )


def measure_imports(runs: int = RUNS) -> ImportTimes:
    """Import both in fresh processes, in turn, with compiled files."""
    environment = {**os.environ, **_ENVIRONMENT}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    _milliseconds(_WORKER, environment)
    times = ImportTimes([], [])
    for _ in range(runs):
        times.worker.append(_milliseconds(_WORKER, environment))
        times.libraries.append(_milliseconds(_LIBRARIES, environment))
    return times


def _milliseconds(code: str, environment: dict[str, str]) -> float:
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return float(output) * 1000
