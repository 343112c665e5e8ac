"""A receiver of webhooks on this machine, which answers as its paths say."""

import json
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.support.loopback_server import read_whole

HIT_TRIES = 3


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def id(self) -> str:
        """What names the delivery at each try."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> Mapping[str, Any]:
        """The payload."""
        event: Mapping[str, Any] = json.loads(self.body)
        return event


class Receiver:
    """Keeps every request; the last part of its path says how it is answered.

    `ok`, a status such as `500`, `hang` (until the receiver closes), `reset` (cut before an
    answer), or several of them joined by `-`: the first for the first try of each delivery, the
    last for all others. `~500` is `500` for a third of the first tries, and else `ok`.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        """Return the address that leads to a path."""
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def at(self, path: str) -> list[Received]:
        """Return what came to a path so far."""
        with self._lock:
            return [each for each in self._received if each.path == path]

    def types_at(self, path: str) -> list[str]:
        """Return the events that came to a path, without repetitions."""
        first = {each.id: each.event["type"] for each in self.at(path)}
        return [str(kind) for kind in first.values()]

    def take(self, received: Received) -> str:
        """Keep a request and return how it is answered."""
        with self._lock:
            self._received.append(received)
            tries = sum(each.id == received.id for each in self._received)
        manners = urlsplit(received.path).path.rpartition("/")[2].split("-")
        manner = manners[min(tries, len(manners)) - 1]
        if manner.startswith("~"):
            is_hit = zlib.crc32(f"{received.id} {tries}".encode()) % 3 == 0
            return manner[1:] if is_hit and tries <= HIT_TRIES else "ok"
        return manner


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                body = read_whole(self)
            except ConnectionAbortedError:  # the sender was killed
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            manner = receiver.take(Received(self.path, headers, body))
            if manner == "hang":
                receiver.closing.wait(60)
            if manner in ("hang", "reset"):
                self.close_connection = True
                return
            self.send_response(200 if manner == "ok" else int(manner))
            self.send_header("Location", "/redirected/ok")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver = Receiver(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.closing.set()
            server.shutdown()
            thread.join()
