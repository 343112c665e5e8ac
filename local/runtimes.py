"""The two runtimes as processes: started, watched, stopped and killed from outside.

Used by `darkroom demo`, `up` and `parity`, and by the tests. A runtime is one process that owns
all others of it: the main process of a Celery worker, or the local Lambda host.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from local.launch import launched
from shared.errors import ConfigurationError, ServiceUnavailable

START_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.05
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

_READY = re.compile(rb"\"event\": \"(?:celery@\S+ ready\.|lambda host ready)\"")


class RuntimeProcess:
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
        if name not in RUNTIMES:
            raise ConfigurationError(f"no runtime {name!r}; there are {', '.join(RUNTIMES)}")
        self.name = name
        self.log_path = log_path
        self._environment = {**environment, "PYTHONPATH": str(_PROJECT)}
        self._module = (*(_CELERY if name == "celery" else _LAMBDA), str(concurrency))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the main process; RuntimeError while it does not run."""
        if self._process is None:
            raise RuntimeError(f"the {self.name} runtime is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the main process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until it takes jobs; it dies with the thread that calls this.

        Raises:
            ServiceUnavailable: It ended or did not get ready; names the last line it wrote.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Begin to start; returns at once."""
        self._log_offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is made here
                launched([sys.executable, *self._warning_options(), "-m", *self._module]),
                env=self._environment,
                # `python -m` and Celery's --app import from the current folder first.
                cwd=_PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it takes jobs; raises as `start` does."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _READY.search(self._log_since_start()):
            if not self.is_running:
                raise ServiceUnavailable(f"{self.name} runtime: {self._last_line()}")
            if time.monotonic() >= deadline:
                raise ServiceUnavailable(f"{self.name} runtime not ready: {self._last_line()}")
            time.sleep(POLL_SECONDS)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Ask it to stop and wait; ended by force after the time. Nothing if it is down."""
        if self._process is None:
            return
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """End the main process at once (SIGKILL), as a lost machine would; its children follow."""
        if self._process is not None:
            descendants = self.descendants()
            self._process.kill()
            self._process.wait()
            psutil.wait_procs(descendants, timeout=10)
            self._process = None

    def descendants(self) -> list[psutil.Process]:
        """Return all processes below the main one."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _warning_options(self) -> tuple[str, ...]:
        # Celery warns whoever is root; these workers take JSON from their own user alone. Named
        # by its text: its class cannot be imported as early as these options are read.
        return ("-W", "ignore:You're running the worker with superuser privileges")

    def _log_since_start(self) -> bytes:
        with self.log_path.open("rb") as log:
            log.seek(self._log_offset)
            return log.read()

    def _last_line(self) -> str:
        lines = self._log_since_start().decode(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else "it wrote nothing"
