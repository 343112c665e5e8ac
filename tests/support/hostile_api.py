"""A provider that does harm: its answers repeat the API key, never end, or lead elsewhere.

A prompt holds `<<name>>` of one of `ANSWERS`. It speaks the OpenAI Images API as far as its clients
can see before the harm is done.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from tests.support.loopback_server import LoopbackServer


class HostileApi(LoopbackServer):
    """The server, in threads of this process, on a loopback port."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        super().__init__(type("Handler", (_Handler,), {"api": self}))

    def environment(self, key: str) -> dict[str, str]:
        """Return what a worker needs to use this server."""
        return {
            "AI_MOCK_MODE": "false",
            "OPENAI_API_KEY": key,
            "OPENAI_BASE_URL": f"{self.url}/v1",
        }


class _Handler(BaseHTTPRequestHandler):
    api: ClassVar[HostileApi]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer as the prompt asks."""
        self.api.paths.append(self.path)
        self.body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        found = re.search("<<([a-z0-9-]+)>>", self.body["prompt"])
        assert found is not None
        self.close_connection = True
        with suppress(OSError):
            ANSWERS[found.group(1)](self)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def send_json(self, status: int, content: Mapping[str, Any], **headers: str) -> None:
        """Send a whole answer."""
        data = json.dumps(content).encode()
        self.begin(
            status, Content_Type="application/json", Content_Length=str(len(data)), **headers
        )
        self.wfile.write(data)

    def begin(self, status: int, **headers: str) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def echo(self, status: int) -> None:
        """Refuse, with the key in every part of the answer, and an id that is too long."""
        key = str(self.headers["authorization"])
        error = {"message": f"no {key}", "type": key, "code": key, "param": key}
        self.send_json(status, {"error": error}, x_request_id=f"{key}-{'x' * 500}")

    def endless(self, head: bytes, piece: bytes, pause_seconds: float = 0.0) -> None:
        """Send a head, then a piece again and again, to the end of the connection."""
        self.wfile.write(head)
        while not self.api.stopped.wait(pause_seconds):
            self.wfile.write(piece)

    def large(self, data: bytes, times: int, end: bytes = b"") -> None:
        """Send JSON that holds a piece so many times."""
        self.begin(200, Content_Type="application/json")
        self.wfile.write(b'{"data": [')
        for _ in range(times):
            self.wfile.write(data)
        self.wfile.write(end)


_OK = b"HTTP/1.1 200 OK\r\n"
_JSON = _OK + b"Content-Type: application/json\r\n\r\n"
_GZIP = _OK + b"Content-Encoding: gzip\r\n\r\n"
_MEBIBYTE = 1 << 20

_COMPRESSOR = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
_GZIP_HEAD = _COMPRESSOR.compress(bytes(_MEBIBYTE)) + _COMPRESSOR.flush(zlib.Z_FULL_FLUSH)
_GZIP_BLOCK = _COMPRESSOR.compress(bytes(_MEBIBYTE)) + _COMPRESSOR.flush(zlib.Z_FULL_FLUSH)
"""A thousand bytes that become a million, and may be repeated."""

ANSWERS: Mapping[str, Callable[[_Handler], None]] = {
    "echo-400": lambda handler: handler.echo(400),
    "echo-401": lambda handler: handler.echo(401),
    "echo-429": lambda handler: handler.echo(429),
    "echo-500": lambda handler: handler.echo(500),
    "redirect": lambda handler: handler.begin(307, Location="http://127.0.0.2:1/v1/images"),
    "endless-head": lambda handler: handler.endless(_OK + b"X: ", b"x", 0.05),
    "endless-headers": lambda handler: handler.endless(_OK, b"X: x\r\n"),
    "endless-100": lambda handler: handler.endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "endless-body": lambda handler: handler.endless(_JSON, b" " * _MEBIBYTE),
    "slow-body": lambda handler: handler.endless(_JSON, b" ", 0.05),
    "endless-event": lambda handler: handler.endless(_JSON + b"data: ", b"x" * _MEBIBYTE),
    "endless-events": lambda handler: handler.endless(_JSON, b"data:\n" * 100_000),
    "bomb": lambda handler: handler.endless(_GZIP + _GZIP_HEAD, _GZIP_BLOCK),
    "after-gzip": lambda handler: handler.endless(_GZIP + gzip.compress(b"{}"), b"x" * _MEBIBYTE),
    "objects": lambda handler: handler.large(b"{}," * (_MEBIBYTE // 3), 100, b"0]}"),
    "deep": lambda handler: handler.large(b"[" * _MEBIBYTE, 100),
}
"""By their names: what the client meets."""
