"""A child process: started, waited for, stopped, killed, frozen, and started again.

The base of the embedded servers (`devkit.stack`) and of the runtimes (`devkit.runtimes`).
"""

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self

import psutil

from devkit.launch import SAME_ACCOUNT, launched
from shared.errors import ServiceUnavailable

START_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 4096


class ChildProcess(ABC):
    """A process that dies with the thread which started it, and logs to a file.

    `start` is `launch` and `wait_until_ready`; several processes start side by side when each is
    launched before the first is waited for. Starting a running process changes nothing.

    Args:
        name: What messages call it.
        log_path: Where its lines go; appended to.
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL
    stop_timeout_seconds: ClassVar[float] = 10.0

    def __init__(self, name: str, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._process: psutil.Popen | None = None

    @property
    def pid(self) -> int:
        """The process id of the main process; RuntimeError while it does not run."""
        return self._main().pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives (paused counts)."""
        return self._process is not None and self._process.poll() is None

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Start it, and stop it at the end of the block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        """Start, or start again at the same address, and wait until it can be used.

        Raises:
            ConfigurationError: This machine lacks what it needs.
            ServiceUnavailable: It did not come up; the message ends with its last log line.
        """
        try:
            self.launch()
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Begin to start, unless it runs; returns at once."""
        if not self.is_running:
            self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """Run the first command."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether it can be used now."""

    def wait_until_ready(self) -> None:
        """Wait until it can be used.

        Raises:
            ServiceUnavailable: It ended or did not answer in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            was_running = self.is_running
            if self.answers():
                return
            # `answers` may start the next command once the one before has ended.
            if not was_running and not self.is_running:
                raise ServiceUnavailable(f"{self.name} did not start: {self.last_log_line()}")
            if time.monotonic() >= deadline:
                raise ServiceUnavailable(
                    f"{self.name} did not answer within {START_TIMEOUT_SECONDS:g} s: "
                    f"{self.last_log_line()}"
                )
            time.sleep(POLL_SECONDS)

    def request_stop(self) -> None:
        """Ask it to end in order; returns at once."""
        if self.is_running:
            self.resume()
            self._main().send_signal(self.stop_signal)

    def stop(self) -> None:
        """End it in order, or by force after `stop_timeout_seconds`; nothing if down."""
        self.request_stop()
        if self._process is None:
            return
        try:
            self._process.wait(self.stop_timeout_seconds)
        except psutil.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it and all below it at once (SIGKILL), as a lost machine would; nothing if down."""
        if self.is_running:
            # A stopped parent cannot answer the death of one child by starting others.
            self._main().suspend()
            descendants = self.descendants()
            _signal_all([*descendants, self._main()], signal.SIGKILL)
            self._main().wait()
            psutil.wait_procs(descendants, timeout=self.stop_timeout_seconds)
        self._process = None

    def pause(self) -> None:
        """Freeze it and all below it (SIGSTOP); sockets of a server still take connections."""
        self._main().suspend()
        _signal_all(self.descendants(), signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`; changes nothing if it was not paused."""
        _signal_all([*self.descendants(), self._main()], signal.SIGCONT)

    def descendants(self) -> list[psutil.Process]:
        """Return all processes below the main one."""
        try:
            return self._main().children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def last_log_line(self) -> str:
        """Return the last line it wrote, or `no log`."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            lines = []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no log")

    def _main(self) -> psutil.Popen:
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process

    def _spawn(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        folder: Path,
        account: tuple[int, int] = SAME_ACCOUNT,
    ) -> None:
        """Run the command as this process, out of reach of the terminal's Ctrl-C."""
        words = [str(word) for word in command]
        with self.log_path.open("ab") as log:
            self._process = psutil.Popen(
                launched(words, self.death_signal, account),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def stop_all(processes: Sequence[ChildProcess]) -> None:
    """End them in order, side by side."""
    for process in processes:
        process.request_stop()
    for process in processes:
        process.stop()


def _signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
