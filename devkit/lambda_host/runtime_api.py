"""The HTTP server that a Lambda runtime talks to, one for each runtime process.

Lambda Developer Guide, "Using the Lambda runtime API". `RuntimeProcess` makes it; what the
runtime says arrives as signals in a queue that `Sandbox` reads.
"""

import queue
import select
import sys
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RUNTIME_PATH = "/2018-06-01/runtime"
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
class PickedUp:
    """The runtime got the invocation; the function's timeout counts from here."""


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


RuntimeSignal = Idle | PickedUp | Answered | InitFailed | Exited


class RuntimeApi:
    """Hands invocations to one runtime process and passes on what it says.

    Args:
        function_arn: What the runtime is told about the function.
        timeout_seconds: Of the function, for the deadline header.
        signals: Where what the runtime says is put.
    """

    def __init__(
        self, function_arn: str, timeout_seconds: float, signals: queue.SimpleQueue[RuntimeSignal]
    ) -> None:
        self.function_arn = function_arn
        self.timeout_seconds = timeout_seconds
        self._signals = signals
        self._offers: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, name="runtime-api", daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port, as AWS_LAMBDA_RUNTIME_API."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def offer(self, invocation: Invocation) -> None:
        """Let the runtime have this invocation as its next one."""
        self._offers.put(invocation)

    def close(self) -> None:
        """Stop serving; takes up to half a second (`serve_forever` looks that often)."""
        self._offers.put(None)
        self._server.shutdown()
        self._server.server_close()

    def next_invocation(self) -> Invocation | None:
        """Wait for an offer on behalf of the runtime; None when the server is closing."""
        self._signals.put(Idle())
        return self._offers.get()

    def note_pick_up(self) -> None:
        """Start the function's time: the runtime is there to take what it asked for."""
        self._signals.put(PickedUp())

    def accept_report(self, path: str, error_type: str, body: bytes) -> HTTPStatus:
        """Take what the runtime posted to a path below `RUNTIME_PATH`."""
        match path.removeprefix(RUNTIME_PATH).strip("/").split("/"):
            case ["init", "error"]:
                self._signals.put(InitFailed(body, error_type))
            case ["invocation", _, "response"]:
                self._signals.put(Answered(body))
            case ["invocation", _, "error"]:
                self._signals.put(Answered(body, error_type))
            case _:
                return HTTPStatus.NOT_FOUND
        return HTTPStatus.ACCEPTED

    def refuse_report(self, size_bytes: int) -> HTTPStatus:
        """Turn a response above the limit into an error of the function."""
        message = f'{{"errorMessage": "response of {size_bytes} bytes is above the limit"}}'
        self._signals.put(Answered(message.encode(), "Function.ResponseSizeTooLarge"))
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, api: RuntimeApi) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.api = api

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet on a connection that broke, as it does whenever a process is killed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # its types are private


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave as one segment; apart they wait 40 ms for a delayed ACK.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer `invocation/next`, as long as that may take."""
        if self.path != f"{RUNTIME_PATH}/invocation/next":
            self._reply(HTTPStatus.NOT_FOUND)
            return
        invocation = self.server.api.next_invocation()
        if invocation is None or self._runtime_is_gone():
            self.close_connection = True
            return
        self.server.api.note_pick_up()
        self._reply(HTTPStatus.OK, invocation.payload, self._invocation_headers(invocation))

    def do_POST(self) -> None:
        """Take the function's answer, or the news that it could not be loaded."""
        size_bytes = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size_bytes)
        if size_bytes > PAYLOAD_MAX_BYTES:
            self._reply(self.server.api.refuse_report(size_bytes))
            return
        error_type = self.headers.get("Lambda-Runtime-Function-Error-Type", "Unhandled")
        self._reply(self.server.api.accept_report(self.path, error_type, body))

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: an access log would drown the function's own lines."""

    def _runtime_is_gone(self) -> bool:
        # It says nothing while it waits: only the end of the connection can be read now.
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable)

    def _invocation_headers(self, invocation: Invocation) -> dict[str, str]:
        api = self.server.api
        trace_id = f"{int(time.time()):08x}-{invocation.request_id.replace('-', '')[:24]}"
        return {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + api.timeout_seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": api.function_arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{trace_id};Sampled=0",
        }

    def _reply(
        self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
