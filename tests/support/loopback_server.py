"""An HTTP server of the tests: what every provider that they play is built on."""

import sys
import threading
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class LoopbackServer(AbstractContextManager[Any]):
    """A server in threads of this process, on a loopback port, for the length of a block.

    Attributes:
        stopped: Set at the end of the block; what a request waits for must end then.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that is gone: the tests cut many."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def read_whole(handler: BaseHTTPRequestHandler) -> bytes:
    """Return the body of a request.

    Raises:
        ConnectionAbortedError: It is cut short: no server does what it asks for.
    """
    length = int(handler.headers["content-length"])
    data = handler.rfile.read(length)
    if len(data) < length:
        raise ConnectionAbortedError
    return data
