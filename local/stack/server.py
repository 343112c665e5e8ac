"""One embedded server as a child process: start, stop, kill, pause, resume, restart."""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from local.launch import launched
from local.stack.folder import Account
from shared.errors import ServiceUnavailable

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 4096

FOREIGN_PREFIXES = ("PG", "AWS_", "MOTO_", "PYTHON", "FLASK_", "WERKZEUG_")
"""Environment variables of these names would change how an embedded server behaves."""


class EmbeddedServer(ABC):
    """A server process with a private folder and an address that outlives restarts.

    `start` is `launch` and `wait_until_ready`; several servers start side by side when each is
    launched before the first is waited for. Starting a running server changes nothing.

    Args:
        folder: Where it keeps everything; made on first start, deleted by its owner.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_path = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address in the format of the settings; the same after every restart."""

    @property
    def pid(self) -> int:
        """The process id of the server itself; RuntimeError while it does not run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives (paused counts)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, or start again on the same address, and wait until it answers.

        Raises:
            ConfigurationError: This machine lacks what the server needs.
            ServiceUnavailable: It did not come up; the message ends with its last log line.
        """
        try:
            self.launch()
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise

    @abstractmethod
    def launch(self) -> None:
        """Begin to start; returns at once."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server answers a request now."""

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServiceUnavailable: It ended or did not answer in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.answers():
            if not self.is_running:
                raise ServiceUnavailable(f"{self.name} did not start: {self.last_log_line()}")
            if time.monotonic() >= deadline:
                raise ServiceUnavailable(
                    f"{self.name} did not answer within {START_TIMEOUT_SECONDS:g} s: "
                    f"{self.last_log_line()}"
                )
            time.sleep(POLL_SECONDS)

    def request_stop(self) -> None:
        """Ask the server to end in order; returns at once."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self._process.send_signal(self.stop_signal)

    def stop(self) -> None:
        """End the server in order, or by force after 10 s; changes nothing if it is down."""
        self.request_stop()
        if self._process is None:
            return
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server and its processes at once (SIGKILL); changes nothing if it is down."""
        if self._process is None:
            return
        if self._process.poll() is None:
            # A stopped parent cannot answer the death of one child by starting others.
            self._process.send_signal(signal.SIGSTOP)
            _signal_all([*self._children(), psutil.Process(self.pid)], signal.SIGKILL)
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze the server and its processes (SIGSTOP); its sockets still take connections."""
        os.kill(self.pid, signal.SIGSTOP)
        _signal_all(self._children(), signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`; changes nothing if the server was not paused."""
        _signal_all(self._children(), signal.SIGCONT)
        os.kill(self.pid, signal.SIGCONT)

    def last_log_line(self) -> str:
        """Return the last line the server wrote, or a word for none."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            lines = []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no log")

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _run(self, command: Sequence[str | Path], account: Account | None = None) -> None:
        """Run the command as this server's process, out of reach of the terminal's Ctrl-C."""
        user = account or Account(-1, -1)
        words = [str(word) for word in command]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is made here
                launched(words, self.death_signal, user.user_id, user.group_id),
                cwd=self.folder,
                env=_child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _child_environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)
    }
