"""One process of AWS's Python runtime, with its own Runtime API, from its start to its end."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import structlog

from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.process_output import pass_on_lines
from devkit.lambda_host.runtime_api import Exited, Invocation, RuntimeApi, RuntimeSignal
from devkit.launch import launched

_logger = structlog.get_logger()


class RuntimeProcess:
    """`python -m awslambdaric <handler>` in a process group of its own.

    Once it ended it stays ended: `Sandbox` replaces it.
    """

    def __init__(self, function: LambdaFunction) -> None:
        self._function = function
        self._signals: queue.SimpleQueue[RuntimeSignal] = queue.SimpleQueue()
        self._api = RuntimeApi(function.arn, function.timeout_seconds, self._signals)
        self._process = _spawning_thread().submit(self._spawn).result()
        self._reaping = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name=f"watch-{self.pid}", daemon=True).start()
        _logger.debug("sandbox_started", function=function.name, pid=self.pid)

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is known to be gone."""
        return self._ended.is_set()

    def offer(self, invocation: Invocation) -> None:
        """Wake the process if it is frozen and let it have this invocation."""
        self._signal_group(signal.SIGCONT)
        self._api.offer(invocation)

    def next_signal(self, until: float) -> RuntimeSignal | None:
        """Wait for what the runtime says next; None when `until` (monotonic) comes first."""
        try:
            return self._signals.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None

    def freeze(self) -> None:
        """Stop all of its threads until the next invocation."""
        self._signal_group(signal.SIGSTOP)

    def terminate(self) -> None:
        """Ask the runtime alone to end."""
        with self._reaping:
            if self._process.returncode is None:
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and what it started, and wait until it is gone."""
        self._signal_group(signal.SIGKILL)
        self._ended.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        runtime = [sys.executable, "-m", "awslambdaric", self._function.handler]
        return subprocess.Popen(  # noqa: S603 - the handler comes from the command line
            launched(runtime),
            env=self._function.process_environment(self._api.address),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _watch(self) -> None:
        output = threading.Thread(
            target=pass_on_lines, args=(self._process, self._function.name), daemon=True
        )
        output.start()
        # Not reaped yet: until then its pid, and so its group's, belongs to nobody else.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._signal_group(signal.SIGKILL)
        with self._reaping:
            return_code = self._process.wait()
        output.join(timeout=1.0)
        _logger.debug(
            "sandbox_ended", function=self._function.name, pid=self.pid, return_code=return_code
        )
        self._ended.set()
        self._signals.put(Exited(return_code))
        self._api.close()

    def _signal_group(self, number: signal.Signals) -> None:
        with self._reaping:
            if self._process.returncode is None:
                os.killpg(self.pid, number)


@cache
def _spawning_thread() -> ThreadPoolExecutor:
    """Return the one thread that starts processes, and lives as long as this process.

    The parent of PR_SET_PDEATHSIG is the thread that forked (prctl(2)): a process started from
    a thread that ends would be killed with it.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")
