"""The two runtimes as processes: started, watched, stopped and killed from outside.

Used by `darkroom demo`, `up` and `parity`, and by the tests. A runtime is one process that owns
all others of it: the main process of a Celery worker, or the local Lambda host.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from local.child_process import ChildProcess
from shared.errors import ConfigurationError

STOP_TIMEOUT_SECONDS = 90.0
"""More than SHUTDOWN_GRACE_SECONDS and what the runtimes need after it."""

_PROJECT = Path(__file__).resolve().parent.parent

_CELERY = (
    *("celery", "--app", "local.celery_app", "--quiet", "worker"),
    # Greeting other workers takes a second, and there are none.
    *("--without-mingle", "--without-gossip", "--concurrency"),
)
_LAMBDA = ("local.lambda_host", "--concurrency")

RUNTIMES = ("celery", "lambda")

# Celery warns whoever is root; these workers take JSON from their own user alone. Named by its
# text: its class cannot be imported as early as these options are read.
_WARNING_OPTIONS = ("-W", "ignore:You're running the worker with superuser privileges")

_READY = re.compile(rb"\"event\": \"(?:celery@\S+ ready\.|lambda host ready)\"")


class RuntimeProcess(ChildProcess):
    """One runtime, running jobs from the servers that its environment names.

    Args:
        name: `celery` or `lambda`.
        environment: All of its environment variables.
        log_path: Where its lines go; appended to.
        concurrency: How many jobs it runs at once.

    Raises:
        ConfigurationError: There is no runtime of that name.
    """

    stop_timeout_seconds = STOP_TIMEOUT_SECONDS

    def __init__(
        self, name: str, environment: Mapping[str, str], log_path: Path, concurrency: int = 2
    ) -> None:
        if name not in RUNTIMES:
            raise ConfigurationError(f"no runtime {name!r}; there are {', '.join(RUNTIMES)}")
        super().__init__(name, log_path)
        self._environment = {**environment, "PYTHONPATH": str(_PROJECT)}
        self._module = (*(_CELERY if name == "celery" else _LAMBDA), str(concurrency))
        self._log_offset = 0

    def launch(self) -> None:
        """Begin to start; returns at once."""
        if self.is_running:
            return
        self._log_offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        command = [sys.executable, *_WARNING_OPTIONS, "-m", *self._module]
        # `python -m` and Celery's --app import from the current folder first.
        self._spawn(command, self._environment, _PROJECT)

    def answers(self) -> bool:
        """Return whether it has said that it takes jobs."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_offset)
            return _READY.search(log.read()) is not None
