"""One process of AWS's Python runtime and the HTTP server that it talks to.

Lambda Developer Guide, "Using the Lambda runtime API".
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devkit.lambda_host.function import LambdaFunction
from devkit.launch import launched
from local.web.server import WebServer, address_of, listen, server_config

log = structlog.get_logger(__name__)

RUNTIME_PATH = "/2018-06-01/runtime/"
PAYLOAD_MAX_BYTES = 6 * 1024 * 1024
"""Lambda quotas, "Invocation payload (request and response)", synchronous."""

OUTPUT_SECONDS = 1.0
"""How long lines are read that the process left in its pipe; a grandchild may hold it open."""


class InvocationStatus(StrEnum):
    """How an invocation ended."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASHED = "crashed"


_STATUSES = {
    "Function.ResponseSizeTooLarge": InvocationStatus.ERROR,
    "Runtime.ExitError": InvocationStatus.CRASHED,
    "Sandbox.Timedout": InvocationStatus.TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended, or why there is no process for one.

    Attributes:
        payload: The function's JSON response, or the JSON error of the function or of Lambda.
        error_type: As Lambda names it; None when the function returned.
        request_id: Of the invocation; empty if there was none.
        duration_seconds: Of the invocation, with the cold start if there was one.
        pid: The process that ran it; None if none could be started.
    """

    status: InvocationStatus
    payload: bytes
    error_type: str | None = None
    request_id: str = ""
    duration_seconds: float = 0.0
    pid: int | None = None


class FunctionProcess:
    """`python -m awslambdaric <handler>` in a process group of its own.

    Once it ended it stays ended: `Sandbox` replaces it. All methods run in the event loop that
    made it. It is the ASGI application of its own Runtime API.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(self, function: LambdaFunction) -> None:
        self._function = function
        self._offers: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        self._report: Outcome | None = None
        # The runtime has asked for its next invocation, or the process has ended.
        self._is_settled = asyncio.Event()
        self._has_ended = asyncio.Event()
        listening = listen("127.0.0.1", 0)
        self._process = subprocess.Popen(  # noqa: S603 - the handler comes from the command line
            launched([sys.executable, "-m", "awslambdaric", function.handler]),
            env=function.process_environment(address_of(listening).removeprefix("http://")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.debug("sandbox started", function=function.name, pid=self.pid)
        self._server = WebServer(server_config(self), lambda: None)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        self._watching = asyncio.create_task(self._watch())

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone, also in the moment before its end is noticed."""
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return self._has_ended.is_set() or os.waitid(os.P_PID, self.pid, flags) is not None

    async def load(self) -> Outcome | None:
        """Wait until the handler is loaded; return why it is not, after which the process ends."""
        return await self._settle(self._function.init_timeout_seconds, "INIT timed out")

    async def run(self, request_id: str, payload: bytes) -> Outcome:
        """Run one invocation on a process that waits for one.

        Returns once the process asks for its next invocation (so that it can be frozen), has
        ended, or was killed because it took longer than the function's timeout.
        """
        self._is_settled.clear()
        self._signal_group(signal.SIGCONT)
        self._offers.put_nowait((request_id, payload))
        outcome = await self._settle(self._function.timeout_seconds, "Task timed out")
        self._report = None
        return outcome or crashed("the runtime gave no answer")

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
        await self._has_ended.wait()

    async def close(self) -> None:
        """Kill it, and wait until its Runtime API is closed as well."""
        await self.kill()
        await self._watching

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the runtime."""
        request = Request(scope, receive)
        step = request.url.path.removeprefix(RUNTIME_PATH).split("/")
        if request.method == "GET" and step == ["invocation", "next"]:
            response = await self._give_next()
        else:
            response = Response(status_code=self._take_report(request, step, await request.body()))
        await response(scope, receive, send)

    async def _give_next(self) -> Response:
        self._is_settled.set()
        offer = await self._offers.get()
        if offer is None:
            return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
        request_id, payload = offer
        now = time.time()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((now + self._function.timeout_seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._function.arn,
            "Lambda-Runtime-Trace-Id": "Root=1-{:08x}-{:.24};Sampled=0".format(
                int(now), request_id.replace("-", "")
            ),
        }
        return Response(payload, headers=headers, media_type="application/json")

    def _take_report(self, request: Request, step: list[str], body: bytes) -> HTTPStatus:
        error_type = request.headers.get("Lambda-Runtime-Function-Error-Type", "Unhandled")
        match step:
            case ["invocation", _, "response"] if len(body) > PAYLOAD_MAX_BYTES:
                message = f"response of {len(body)} bytes is above the limit"
                self._report = _failed("Function.ResponseSizeTooLarge", message)
                return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            case ["invocation", _, "response"]:
                self._report = Outcome(InvocationStatus.OK, body)
            case ["invocation", _, "error"] | ["init", "error"]:
                self._report = Outcome(InvocationStatus.ERROR, body, error_type)
            case _:
                return HTTPStatus.NOT_FOUND
        return HTTPStatus.ACCEPTED

    async def _settle(self, limit_seconds: float, timed_out: str) -> Outcome | None:
        """Return what is reported until the runtime is idle, gone, or killed at the limit."""
        try:
            async with asyncio.timeout(limit_seconds):
                await self._is_settled.wait()
        except TimeoutError:
            message = f"{timed_out} after {limit_seconds:.2f} seconds"
            self._report = self._report or _failed("Sandbox.Timedout", message)
            await self.kill()
        return self._report

    async def _watch(self) -> None:
        gone = asyncio.Event()
        waiting = (asyncio.get_running_loop(), gone)
        # A daemon, because a thread that waits must not keep the host from ending.
        threading.Thread(target=self._wait_for_end, args=waiting, daemon=True).start()
        await gone.wait()
        code = self._process.wait()
        log.debug("sandbox ended", function=self._function.name, pid=self.pid, return_code=code)
        self._report = self._report or crashed(f"runtime exited with code {code}")
        self._is_settled.set()
        self._has_ended.set()
        self._offers.put_nowait(None)
        self._server.should_exit = self._server.force_exit = True
        await self._serving

    def _wait_for_end(self, loop: asyncio.AbstractEventLoop, gone: asyncio.Event) -> None:
        output = threading.Thread(target=self._pass_on_lines, daemon=True)
        output.start()
        # Not reaped here: until then no other process can get its id, or its group's.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        os.killpg(self.pid, signal.SIGKILL)
        output.join(OUTPUT_SECONDS)
        loop.call_soon_threadsafe(gone.set)

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
    return _failed("Runtime.ExitError", message)


def _failed(error_type: str, message: str) -> Outcome:
    payload = json.dumps({"errorMessage": message, "errorType": error_type}).encode()
    return Outcome(_STATUSES[error_type], payload, error_type)


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
