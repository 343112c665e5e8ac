"""One process of AWS's Python runtime and the HTTP server that it talks to.

Lambda Developer Guide, "Using the Lambda runtime API".
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.on_disk import WaitingBytes
from devkit.launch import launched
from local.web.server import WebServer, address_of, listen, server_config

log = structlog.get_logger(__name__)

RUNTIME_PATH = "2018-06-01/runtime/"
_RUNTIME_CLIENT = "devkit.lambda_host.runtime_client"
PAYLOAD_MAX_BYTES = 6 * 1024 * 1024
"""Lambda quotas, "Invocation payload (request and response)", synchronous."""

OUTPUT_SECONDS = 1.0
"""How long lines are read that the process left in its pipe; a grandchild may hold it open."""


TIMED_OUT = "Sandbox.Timedout"
CRASHED = "Runtime.ExitError"
TOO_LONG = "Function.ResponseSizeTooLarge"
"""How Lambda names the errors that no function reports."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended, or why there is no process for one.

    Attributes:
        answer: The function's JSON response, or the JSON error of the function or of Lambda; on
            disk if it is long, for it may wait behind others.
        error_type: As Lambda names it; None when the function returned.
        request_id: Of the invocation; empty if there was none.
        duration_seconds: Of the invocation, with the cold start if there was one.
        pid: The process that ran it; None if none could be started.
    """

    answer: WaitingBytes
    error_type: str | None = None
    request_id: str = ""
    duration_seconds: float = 0.0
    pid: int | None = None

    @property
    def payload(self) -> bytes:
        """All of the answer."""
        return self.answer.all()


def failed(message: str, error_type: str = CRASHED) -> Outcome:
    """Return the outcome of an invocation that has no answer; its process ended, unless said."""
    payload = json.dumps({"errorMessage": message, "errorType": error_type}).encode()
    return Outcome(WaitingBytes(payload), error_type)


class FunctionProcess:
    """AWS's runtime client with a handler, in a process group of its own.

    Once it ended it stays ended: `Sandbox` replaces it. All methods run in the event loop that
    made it. It is the ASGI application of its own Runtime API, which has a key: whatever else runs
    on this machine, a page in a browser too, could read requests there, and answer them.

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
        self._request_id = ""
        listening = listen("127.0.0.1", 0)
        self._host = address_of(listening).removeprefix("http://")
        self._key = secrets.token_urlsafe(32)
        self._process = subprocess.Popen(  # noqa: S603 - the handler comes from the command line
            launched([sys.executable, "-m", _RUNTIME_CLIENT, function.handler]),
            env=function.process_environment(f"{self._host}/{self._key}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._log = log.bind(function=function.name, pid=self.pid)
        self._log.debug("sandbox started")
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
        self._request_id = request_id
        self._signal_group(signal.SIGCONT)
        self._offers.put_nowait((request_id, payload))
        outcome = await self._settle(self._function.timeout_seconds, "Task timed out")
        self._report = None
        return outcome or failed("the runtime gave no answer")

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
        key, _, path = request.scope["path"][1:].partition("/")
        step = path.removeprefix(RUNTIME_PATH).split("/")
        if not self._is_of_runtime(request, key):
            response = Response(status_code=HTTPStatus.FORBIDDEN)
        elif request.method == "GET" and step == ["invocation", "next"]:
            response = await self._give_next()
        else:
            answer = WaitingBytes()
            async for chunk in request.stream():
                answer.write(chunk)
            response = Response(status_code=self._take_report(request, step, answer))
        await response(scope, receive, send)

    def _is_of_runtime(self, request: Request, key: str) -> bool:
        headers = request.headers
        is_page = "origin" in headers or headers.get("host") != self._host
        return not is_page and secrets.compare_digest(key.encode(), self._key.encode())

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

    def _take_report(self, request: Request, step: list[str], answer: WaitingBytes) -> HTTPStatus:
        error_type = request.headers.get("Lambda-Runtime-Function-Error-Type", "Unhandled")
        match step:
            case ["invocation", request_id, _] if request_id != self._request_id:
                return HTTPStatus.BAD_REQUEST
            case ["invocation", _, "response"] if answer.size > PAYLOAD_MAX_BYTES:
                message = f"response of {answer.size} bytes is above the limit"
                self._report = failed(message, TOO_LONG)
                return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            case ["invocation", _, "response"]:
                self._report = Outcome(answer)
            case ["invocation", _, "error"] | ["init", "error"]:
                self._report = Outcome(answer, error_type)
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
            self._report = self._report or failed(message, TIMED_OUT)
            await self.kill()
        self._signal_group(signal.SIGSTOP)
        return self._report

    async def _watch(self) -> None:
        # A daemon, because a thread that waits must not keep the host from ending.
        output = threading.Thread(target=self._pass_on_lines, daemon=True)
        output.start()
        gone = asyncio.Event()
        loop, descriptor = asyncio.get_running_loop(), os.pidfd_open(self.pid)
        loop.add_reader(descriptor, gone.set)
        await gone.wait()
        loop.remove_reader(descriptor)
        os.close(descriptor)
        # Not reaped yet: until then no other process can get its id, or its group's.
        os.killpg(self.pid, signal.SIGKILL)
        await asyncio.to_thread(output.join, OUTPUT_SECONDS)
        code = self._process.wait()
        self._log.debug("sandbox ended", return_code=code)
        self._report = self._report or failed(f"runtime exited with code {code}")
        self._is_settled.set()
        self._has_ended.set()
        self._offers.put_nowait(None)
        self._server.should_exit = self._server.force_exit = True
        await self._serving

    def _pass_on_lines(self) -> None:
        """Copy the process's output to standard output, one JSON object a line.

        Anything else, as a traceback of the interpreter itself, becomes the text of a log line.
        """
        # Shares structlog's lock on stdout, so that lines of the host do not cut these.
        stdout = structlog.WriteLogger(sys.stdout)
        if self._process.stdout is None:
            return
        with self._process.stdout as lines:
            for raw_line in lines:
                line = raw_line.decode(errors="replace").rstrip("\r\n")
                if _is_json_object(line):
                    stdout.msg(line)
                elif line.strip():
                    self._log.warning("function output", line=line)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            os.killpg(self.pid, number)


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
