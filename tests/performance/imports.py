"""How long the Lambda functions take to import, against the libraries they cannot do without."""

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass

RUNS = 11

_CLOCK = "import time; begin = time.process_time(); {}; print(time.process_time() - begin)"
_LIBRARIES = (
    "import sqlalchemy.orm, psycopg2, redis, pydantic_settings, structlog, boto3;"
    " boto3.client('sqs')"
)
_API_LIBRARIES = f"{_LIBRARIES}; import fastapi, mangum, itsdangerous"
_WORKER = "import functions.worker; functions.worker.container.handler"
_API = "import functions.api"

_ENVIRONMENT = {
    "DATABASE_URL": "postgresql://darkroom@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "QUEUE_URL": "http://127.0.0.1:1/queue",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}


@dataclass(frozen=True)
class ImportTimes:
    """Processor milliseconds of both, run by run."""

    function: list[float]
    libraries: list[float]

    def describe(self) -> str:
        """Return the figures as a line."""
        ratios = [ours / base for ours, base in zip(self.function, self.libraries, strict=True)]
        return (
            f"ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f},"
            f" {len(ratios)} pairs); function {statistics.median(self.function):.0f} ms,"
            f" libraries {statistics.median(self.libraries):.0f} ms CPU"
        )


def measure_imports(runs: int = RUNS) -> ImportTimes:
    """Import the worker and its libraries in fresh processes, in turn, with compiled files."""
    return _compare(_WORKER, _LIBRARIES, runs)


def measure_api_imports(runs: int = RUNS) -> ImportTimes:
    """Import the API's function and its libraries in the same way."""
    return _compare(_API, _API_LIBRARIES, runs)


def _compare(function: str, libraries: str, runs: int) -> ImportTimes:
    environment = {**os.environ, **_ENVIRONMENT}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    _milliseconds(function, environment)
    times = ImportTimes([], [])
    for _ in range(runs):
        times.function.append(_milliseconds(function, environment))
        times.libraries.append(_milliseconds(libraries, environment))
    return times


def _milliseconds(imports: str, environment: dict[str, str]) -> float:
    output = subprocess.run(
        [sys.executable, "-c", _CLOCK.format(imports)],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return float(output) * 1000
