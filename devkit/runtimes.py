"""The two runtimes as processes: started, watched, stopped and killed from outside.

A runtime is one process that owns all others of it: the main process of a Celery worker, or the
local Lambda host. Its API is another: uvicorn, or HTTP in front of the API's Lambda function.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from devkit.child_process import ChildProcess

RUNTIMES = ("celery", "lambda")

_PROJECT = Path(__file__).resolve().parent.parent

_WORKERS = {
    "celery": ("celery", "--app", "local.celery_app", "--quiet", "worker"),
    "lambda": ("devkit.lambda_host",),
}
_APIS = {"celery": "local.api", "lambda": "devkit.lambda_host.gateway"}

# Celery warns when it runs as root; these workers take JSON from their own user alone. Named by
# its text: its class cannot be imported as early as these options are read.
_WARNING_OPTIONS = ("-W", "ignore:You're running the worker with superuser privileges")

_READY = re.compile(rb".*\"event\": \"(?:celery@\S+ ready\.|lambda host ready|api ready)\".*\n")


class ProjectProcess(ChildProcess):
    """A Python module of this project that logs when it can be used.

    Args:
        environment: All of its environment variables.
        log_path: Where its lines go; appended to, and not the file of another process.
        words: The module that is run, with its arguments.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str], log_path: Path, *words: str
    ) -> None:
        super().__init__(name, log_path)
        # Modules of IMAGE_PROVIDER_MODULES may be on the path that was given.
        path = os.pathsep.join(filter(None, (str(_PROJECT), environment.get("PYTHONPATH"))))
        self._environment = {**environment, "PYTHONPATH": path}
        self._words = words
        self._log_offset = 0

    def _begin(self) -> None:
        self._log_offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        command = [sys.executable, *_WARNING_OPTIONS, "-m", *self._words]
        # `python -m` and Celery's --app import from the current folder first.
        self._spawn(command, self._environment, _PROJECT)

    def answers(self) -> bool:
        """Return whether it has logged that it can be used."""
        return self._ready_line() is not None

    def _ready_line(self) -> bytes | None:
        with self.log_path.open("rb") as log:
            log.seek(self._log_offset)
            found = _READY.search(log.read())
        return None if found is None else found.group()


class RuntimeProcess(ProjectProcess):
    """One runtime, running jobs from the servers that its environment names.

    Args:
        runtime: `celery` or `lambda`.
        concurrency: How many jobs it runs at once.
    """

    # More than SHUTDOWN_GRACE_SECONDS and what the runtimes need after it.
    stop_timeout_seconds = 90.0

    def __init__(
        self, runtime: str, environment: Mapping[str, str], log_path: Path, concurrency: int = 2
    ) -> None:
        words = (*_WORKERS[runtime], "--concurrency", str(concurrency))
        counted = {**environment, "LAMBDA_CONCURRENCY": str(concurrency)}
        super().__init__(f"{runtime} runtime", counted, log_path, *words)
        self.runtime = runtime


class ApiProcess(ProjectProcess):
    """The HTTP API of one runtime, listening on API_HOST and API_PORT of its environment.

    Args:
        runtime: `celery` for uvicorn, `lambda` for the Lambda function behind HTTP.
    """

    stop_timeout_seconds = 15.0

    def __init__(self, runtime: str, environment: Mapping[str, str], log_path: Path) -> None:
        super().__init__(f"{runtime} API", environment, log_path, _APIS[runtime])

    @property
    def url(self) -> str:
        """Where it is reached from this machine, once it can be used."""
        address = str(json.loads(self._ready_line() or b"{}")["address"])
        return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
