"""`/metrics` on a port of its own: in the API, in a worker, or alone beside Lambda.

The port is apart from the API, so that no client of the API reads numbers of all workspaces. One
request is served at a time, and a read is kept for some seconds: scrapes cannot load PostgreSQL.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer

import structlog

from shared.errors import DarkroomError, ServiceUnavailable, one_line
from shared.metrics.exposition import CONTENT_TYPE, render
from shared.metrics.store import Sample

CACHE_SECONDS = 5.0

REQUEST_SECONDS = 5.0
"""How long a client may take to send its request, and to read the answer."""

Read = Callable[[], Sequence[Sample]]
log = structlog.get_logger(__name__)


class Exporter:
    """Renders the metrics; the last answer for `CACHE_SECONDS`.

    Args:
        read: Returns the numbers of all jobs.
        read_own: Returns those that this process adds; read each time.
        celery_task: The name of Celery's task, if this runtime has one.
        around: Entered for each scrape.
    """

    def __init__(
        self,
        read: Read,
        read_own: Read = tuple,
        celery_task: str | None = None,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._read, self._read_own = read, read_own
        self._celery_task = celery_task
        self.around = around
        self._kept: Sequence[Sample] = ()
        self._read_at = -CACHE_SECONDS

    def render(self) -> str:
        """Return the text of all metrics.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        if time.monotonic() >= self._read_at + CACHE_SECONDS:
            self._kept = self._read()
            self._read_at = time.monotonic()
        return render((*self._kept, *self._read_own()), self._celery_task)


class MetricsServer:
    """Serves `/metrics` in a thread.

    Raises:
        ServiceUnavailable: The port cannot be opened.
    """

    def __init__(self, host: str, port: int, exporter: Exporter) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server_class = type("_Server", (HTTPServer,), {"address_family": family})
        handler = type("_Handler", (_Handler,), {"exporter": exporter})
        try:
            self._server = server_class((host, port), handler)
        except OSError as error:
            raise ServiceUnavailable(
                f"{host}:{port}: {error.strerror}; METRICS_PORT chooses another port"
            ) from error
        # A child of a worker must not keep the port when its parent is gone.
        os.register_at_fork(after_in_child=self._server.socket.close)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve beside the program, until the process ends."""
        threading.Thread(target=self.serve, name="metrics", daemon=True).start()

    def serve(self) -> None:
        """Serve until the process ends."""
        log.info("metrics ready", port=self.port)
        self._server.serve_forever()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


def start_beside(host: str, port: int | None, exporter: Exporter) -> None:
    """Serve metrics in a thread if a port is given; without it, the program works all the same."""
    if port is None:
        return
    try:
        MetricsServer(host, port, exporter).start()
    except ServiceUnavailable as error:
        log.warning("no metrics", reason=str(error))


class _Handler(BaseHTTPRequestHandler):
    exporter: Exporter
    timeout = REQUEST_SECONDS
    server_version, sys_version = "darkroom", ""

    def do_GET(self) -> None:
        """Answer a scrape."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, "metrics are at /metrics\n", "text/plain")
            return
        with self.exporter.around():
            answer = self._read()
        self._answer(*answer)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing: scrapes come all the time."""

    def _read(self) -> tuple[int, str, str]:
        try:
            return 200, self.exporter.render(), CONTENT_TYPE
        except DarkroomError as error:
            log.warning("metrics not read", reason=one_line(str(error)))
            return 503, "PostgreSQL is unavailable\n", "text/plain"

    def _answer(self, status: int, text: str, media_type: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)
