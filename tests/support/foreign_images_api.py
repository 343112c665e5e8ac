"""A server of the OpenAI Images API whose answers are those of other people's servers.

A prompt that begins with the name of a row gets that row's replies in order, the last one again
and again. It also serves the files that answers lead to, and is the proxy that knows `PROXY_HOST`.
"""

import gzip
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from tests.support.images_api import png
from tests.support.loopback_server import LoopbackServer

GOOD = png(64, 48)
PROXY_HOST = "pictures.invalid"
"""A name that no name server knows (RFC 6761)."""


@dataclass(frozen=True)
class Reply:
    """One answer, byte for byte."""

    body: bytes
    media_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Replies = Callable[[str, Mapping[str, Any]], list[Reply]]
"""Makes the replies of a row from the server's base address and the request."""


@dataclass(frozen=True)
class Seen:
    """One call as the server saw it."""

    body: Mapping[str, Any]
    idempotency_key: str


class ForeignImagesApi(LoopbackServer):
    """The server, in threads of this process, on a loopback port."""

    def __init__(self, rows: Mapping[str, Replies]) -> None:
        self.rows = rows
        self.calls: dict[str, list[Seen]] = defaultdict(list)
        self.fetched: Counter[str] = Counter()
        self.lock = threading.Lock()
        super().__init__(type("Handler", (_Handler,), {"api": self}))

    @property
    def port(self) -> int:
        """Its port."""
        return int(self._server.server_port)

    @property
    def environment(self) -> dict[str, str]:
        """What a worker needs to use this server, also as its proxy."""
        address = f"http://127.0.0.1:{self.port}"
        return {
            "AI_MOCK_MODE": "false",
            "OPENAI_API_KEY": "\ufeff sk-foreign\n",
            "OPENAI_BASE_URL": f"{address}/v1",
            "HTTP_PROXY": address,
            "http_proxy": address,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def forget(self) -> None:
        """Forget all calls."""
        with self.lock:
            self.calls.clear()
            self.fetched.clear()

    def count(self, name: str) -> int:
        """Return how often the row's generation was asked for."""
        with self.lock:
            return len(self.calls[name])


class _Handler(BaseHTTPRequestHandler):
    api: ClassVar[ForeignImagesApi]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer with the row's next reply."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = body["prompt"].partition("\n")[0]
        with self.api.lock:
            calls = self.api.calls[name]
            calls.append(Seen(body, self.headers.get("idempotency-key", "")))
            number = len(calls)
        if self.headers["authorization"] != "Bearer sk-foreign":
            self._send(Reply(b'{"error": "the key is not clean"}', status=401))
            return
        replies = self.api.rows[name](f"127.0.0.1:{self.api.port}", body)
        self._send(replies[min(number, len(replies)) - 1])

    def do_GET(self) -> None:
        """Serve a file, as its path says."""
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        with self.api.lock:
            self.api.fetched[path] += 1
            number = self.api.fetched[path]
        self._send(self._file(parts.hostname, path, number))

    def _file(self, host: str | None, path: str, number: int) -> Reply:
        match path.split("/")[1:]:
            case [*_, "a.png"] if host in (None, PROXY_HOST) and "mnt" not in path:
                return Reply(GOOD, "image/png")
            case ["files", "ä b.png"] | ["view"] | [*_, "content"]:
                return Reply(GOOD, "image/png")
            case ["typed", *words]:
                return Reply(GOOD, "/".join(words))
            case ["zipped.png"]:
                headers = {"Content-Encoding": "gzip"}
                return Reply(gzip.compress(GOOD), "image/png", headers=headers)
            case ["for-browsers.png"]:
                return Reply(GOOD, "image/png", 200 if self.headers["user-agent"] else 403)
            case ["later", _]:
                return Reply(GOOD, "image/png", {1: 503, 2: 404}.get(number, 200))
            case ["page.png"]:
                return Reply(b"<html><body>Sign in</body></html>", "text/html")
        return Reply(b"no such file", "text/plain", 404)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        if reply.media_type:
            self.send_header("Content-Type", reply.media_type)
        self.send_header("Connection", "close")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "event-stream" not in reply.media_type:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = True

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""
