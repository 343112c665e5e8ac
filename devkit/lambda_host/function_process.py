"""One process of AWS's Python runtime, with its own Runtime API, from its start to its end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import structlog

from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.runtime_api import (
    Answered,
    Exited,
    Idle,
    InitFailed,
    Invocation,
    RuntimeApi,
    RuntimeSignal,
)
from devkit.launch import launched

log = structlog.get_logger(__name__)

EXIT_ERROR = "Runtime.ExitError"
TIMED_OUT = "Sandbox.Timedout"

OUTPUT_SECONDS = 1.0
"""How long lines are read that the process left in its pipe; a grandchild may hold it open."""


class InvocationStatus(StrEnum):
    """How an invocation ended."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended, with the JSON response or error, and the error's type as Lambda names it."""

    status: InvocationStatus
    payload: bytes
    error_type: str | None = None


class FunctionProcess:
    """`python -m awslambdaric <handler>` in a process group of its own.

    Once it ended it stays ended: `Sandbox` replaces it. All methods run in the event loop that
    made it.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(self, function: LambdaFunction) -> None:
        self._function = function
        self._signals: asyncio.Queue[RuntimeSignal] = asyncio.Queue()
        self._api = RuntimeApi(function, self._signals)
        self._ended = asyncio.Event()
        self._process = subprocess.Popen(  # noqa: S603 - the handler comes from the command line
            launched([sys.executable, "-m", "awslambdaric", function.handler]),
            env=function.process_environment(self._api.address),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._api.start()
        log.debug("sandbox started", function=function.name, pid=self.pid)
        self._watching = asyncio.create_task(self._watch())

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone, also in the moment before its end is noticed."""
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return self._ended.is_set() or os.waitid(os.P_PID, self.pid, flags) is not None

    async def load(self) -> Outcome | None:
        """Wait until the handler is loaded; return why it is not, after which the process ends."""
        limit_seconds = self._function.init_timeout_seconds
        try:
            async with asyncio.timeout(limit_seconds):
                signal_ = await self._signals.get()
        except TimeoutError:
            await self.kill()
            return _failed(TIMED_OUT, f"INIT timed out after {limit_seconds:.2f} seconds")
        match signal_:
            case Idle():
                return None
            case InitFailed(payload, error_type):
                await self.kill()
                return Outcome(InvocationStatus.ERROR, payload, error_type)
            case Exited(return_code):
                return crashed(f"runtime exited with code {return_code} during INIT")
        await self.kill()
        return crashed("runtime answered before it was asked")

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one invocation on a process that waits for one.

        Returns once the process asks for its next invocation (so that it can be frozen), has
        ended, or was killed because it took longer than the function's timeout.
        """
        self._signal_group(signal.SIGCONT)
        self._api.offer(invocation)
        answer: Outcome | None = None
        try:
            async with asyncio.timeout(self._function.timeout_seconds):
                while True:
                    match await self._signals.get():
                        case Answered(payload, error_type):
                            status = InvocationStatus.ERROR if error_type else InvocationStatus.OK
                            answer = Outcome(status, payload, error_type)
                        case Exited(return_code):
                            return answer or crashed(f"runtime exited with code {return_code}")
                        case Idle() if answer is not None:
                            return answer
        except TimeoutError:
            await self.kill()
            limit = f"{self._function.timeout_seconds:.2f} seconds"
            return answer or _failed(TIMED_OUT, f"Task timed out after {limit}")

    def freeze(self) -> None:
        """Stop all of its threads until the next invocation."""
        self._signal_group(signal.SIGSTOP)

    def terminate(self) -> None:
        """Ask the runtime alone to end."""
        if self._process.returncode is None:
            os.kill(self.pid, signal.SIGTERM)

    async def kill(self) -> None:
        """End the process and what it started, and wait until it is gone."""
        self._signal_group(signal.SIGKILL)
        await self._ended.wait()

    async def close(self) -> None:
        """Kill it, and wait until its Runtime API is closed as well."""
        await self.kill()
        await self._watching

    async def _watch(self) -> None:
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Thread(
            target=self._wait_for_end,
            args=(lambda: loop.call_soon_threadsafe(gone.set),),
            name=f"watch-{self.pid}",
            daemon=True,
        ).start()
        await gone.wait()
        return_code = self._process.wait()
        log.debug(
            "sandbox ended", function=self._function.name, pid=self.pid, return_code=return_code
        )
        self._ended.set()
        self._signals.put_nowait(Exited(return_code))
        await self._api.close()

    def _wait_for_end(self, notify: Callable[[], object]) -> None:
        output = threading.Thread(target=self._pass_on_lines, daemon=True)
        output.start()
        # Not reaped here: until then no other process can get its id, or its group's.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        os.killpg(self.pid, signal.SIGKILL)
        output.join(OUTPUT_SECONDS)
        notify()

    def _pass_on_lines(self) -> None:
        """Copy the process's output to standard output, one JSON object a line.

        Anything else, as a traceback of the interpreter itself, becomes the text of a log line.
        """
        if self._process.stdout is None:
            return
        # Shares structlog's lock on stdout, so that lines of the host do not cut these.
        stdout = structlog.WriteLogger(sys.stdout)
        with self._process.stdout as lines:
            for raw_line in lines:
                line = raw_line.decode(errors="replace").rstrip("\r\n")
                if _is_json_object(line):
                    stdout.msg(line)
                elif line.strip():
                    log.warning(
                        "function output", function=self._function.name, pid=self.pid, line=line
                    )

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            os.killpg(self.pid, number)


def crashed(message: str) -> Outcome:
    """Return the outcome of an invocation whose process ended under it."""
    return _failed(EXIT_ERROR, message)


def _failed(error_type: str, message: str) -> Outcome:
    status = {EXIT_ERROR: InvocationStatus.CRASHED, TIMED_OUT: InvocationStatus.TIMEOUT}[error_type]
    payload = json.dumps({"errorMessage": message, "errorType": error_type}).encode()
    return Outcome(status, payload, error_type)


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
