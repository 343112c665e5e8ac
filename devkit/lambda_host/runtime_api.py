"""The HTTP server that a Lambda runtime talks to, one for each runtime process.

Lambda Developer Guide, "Using the Lambda runtime API". `RuntimeProcess` makes it and reads the
signals that the runtime's requests become.
"""

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devkit.lambda_host.function import LambdaFunction
from local.web.server import WebServer, address_of, listen, server_config

RUNTIME_PATH = "/2018-06-01/runtime/"
PAYLOAD_MAX_BYTES = 6 * 1024 * 1024
"""Lambda quotas, "Invocation payload (request and response)", synchronous."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the function: its id and its JSON payload."""

    request_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Idle:
    """The runtime asked for its next invocation: it is initialised and has nothing to do."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The function returned, or (with an error type) raised."""

    payload: bytes
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class InitFailed:
    """The runtime could not load the handler."""

    payload: bytes
    error_type: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone; negative codes are signals, as in `subprocess`."""

    return_code: int


RuntimeSignal = Idle | Answered | InitFailed | Exited


class RuntimeApi:
    """An ASGI application that hands out invocations and queues what the runtime reports."""

    def __init__(self, function: LambdaFunction, signals: "asyncio.Queue[RuntimeSignal]") -> None:
        self._function = function
        self._signals = signals
        self._offers: asyncio.Queue[Invocation | None] = asyncio.Queue()
        self._socket = listen("127.0.0.1", 0)
        self.address = address_of(self._socket).removeprefix("http://")
        self._server = WebServer(server_config(self), lambda: None)
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    def offer(self, invocation: Invocation) -> None:
        """Give this invocation to the runtime, as its next one."""
        self._offers.put_nowait(invocation)

    async def close(self) -> None:
        """Stop serving."""
        self._offers.put_nowait(None)
        self._server.should_exit = self._server.force_exit = True
        if self._serving is not None:
            await self._serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the runtime."""
        request = Request(scope, receive)
        step = request.url.path.removeprefix(RUNTIME_PATH).split("/")
        if (request.method, step) == ("GET", ["invocation", "next"]):
            response = await self._give_next()
        else:
            response = Response(status_code=self._take_report(request, step, await request.body()))
        await response(scope, receive, send)

    async def _give_next(self) -> Response:
        self._signals.put_nowait(Idle())
        invocation = await self._offers.get()
        if invocation is None:
            return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
        now = time.time()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((now + self._function.timeout_seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._function.arn,
            "Lambda-Runtime-Trace-Id": "Root=1-{:08x}-{:.24};Sampled=0".format(
                int(now), invocation.request_id.replace("-", "")
            ),
        }
        return Response(invocation.payload, headers=headers, media_type="application/json")

    def _take_report(self, request: Request, step: list[str], body: bytes) -> HTTPStatus:
        error_type = request.headers.get("Lambda-Runtime-Function-Error-Type", "Unhandled")
        if len(body) > PAYLOAD_MAX_BYTES:
            message = f'{{"errorMessage": "response of {len(body)} bytes is above the limit"}}'
            report = Answered(message.encode(), "Function.ResponseSizeTooLarge")
            self._signals.put_nowait(report)
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        match step:
            case ["init", "error"]:
                self._signals.put_nowait(InitFailed(body, error_type))
            case ["invocation", _, "response"]:
                self._signals.put_nowait(Answered(body))
            case ["invocation", _, "error"]:
                self._signals.put_nowait(Answered(body, error_type))
            case _:
                return HTTPStatus.NOT_FOUND
        return HTTPStatus.ACCEPTED
