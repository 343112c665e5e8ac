"""The two runtimes as processes: started, watched, stopped and killed from outside.

Used by `darkroom demo`, `up` and `parity`, and by the tests. A runtime is one process that owns
all others of it: the main process of a Celery worker, or the local Lambda host. Its API is
another: uvicorn, or HTTP in front of the API's Lambda function.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from devkit.child_process import ChildProcess
from shared.errors import ConfigurationError

STOP_TIMEOUT_SECONDS = 90.0
"""More than SHUTDOWN_GRACE_SECONDS and what the runtimes need after it."""

_PROJECT = Path(__file__).resolve().parent.parent

_CELERY = (
    *("celery", "--app", "local.celery_app", "--quiet", "worker"),
    # Greeting other workers takes a second, and there are none.
    *("--without-mingle", "--without-gossip", "--concurrency"),
)
_LAMBDA = ("devkit.lambda_host", "--concurrency")

RUNTIMES = ("celery", "lambda")

# Celery warns whoever is root; these workers take JSON from their own user alone. Named by its
# text: its class cannot be imported as early as these options are read.
_WARNING_OPTIONS = ("-W", "ignore:You're running the worker with superuser privileges")

_APIS = {"celery": "local.api", "lambda": "devkit.lambda_host.gateway"}

_READY = re.compile(rb"\"event\": \"(?:celery@\S+ ready\.|lambda host ready|api ready)\"")


class _LoggingProcess(ChildProcess):
    """A Python process of this project that says in its log when it can be used."""

    stop_timeout_seconds = STOP_TIMEOUT_SECONDS

    def __init__(
        self, name: str, environment: Mapping[str, str], log_path: Path, *words: str
    ) -> None:
        super().__init__(name, log_path)
        # Modules of IMAGE_PROVIDER_MODULES may be on the path that was given.
        path = os.pathsep.join(filter(None, (str(_PROJECT), environment.get("PYTHONPATH"))))
        self._environment = {**environment, "PYTHONPATH": path}
        self._words = words
        self._log_offset = 0

    def launch(self) -> None:
        """Begin to start; returns at once."""
        if self.is_running:
            return
        self._log_offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        command = [sys.executable, *_WARNING_OPTIONS, "-m", *self._words]
        # `python -m` and Celery's --app import from the current folder first.
        self._spawn(command, self._environment, _PROJECT)

    def answers(self) -> bool:
        """Return whether it has said that it can be used."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_offset)
            return _READY.search(log.read()) is not None


class RuntimeProcess(_LoggingProcess):
    """One runtime, running jobs from the servers that its environment names.

    Args:
        name: `celery` or `lambda`.
        environment: All of its environment variables.
        log_path: Where its lines go; appended to.
        concurrency: How many jobs it runs at once.

    Raises:
        ConfigurationError: There is no runtime of that name.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str], log_path: Path, concurrency: int = 2
    ) -> None:
        check_runtime_name(name)
        words = (*(_CELERY if name == "celery" else _LAMBDA), str(concurrency))
        counted = {**environment, "LAMBDA_CONCURRENCY": str(concurrency)}
        super().__init__(name, counted, log_path, *words)


class ApiProcess(_LoggingProcess):
    """The HTTP API of one runtime, listening on API_HOST and API_PORT of its environment.

    Args:
        name: `celery` for uvicorn, `lambda` for the Lambda function behind HTTP.
        log_path: Where its lines go; not the file of another process.

    Raises:
        ConfigurationError: There is no runtime of that name.
    """

    stop_timeout_seconds = 15.0

    def __init__(self, name: str, environment: Mapping[str, str], log_path: Path) -> None:
        check_runtime_name(name)
        super().__init__(f"{name} API", environment, log_path, _APIS[name])


def check_runtime_name(name: str) -> None:
    """Raise ConfigurationError if there is no runtime of that name."""
    if name not in RUNTIMES:
        raise ConfigurationError(f"no runtime {name!r}; there are {', '.join(RUNTIMES)}")
