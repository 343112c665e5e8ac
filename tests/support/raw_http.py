"""HTTP by hand: what no client library would send, and a server to send it to."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from local.web.server import WebServer, address_of, listen, server_config
from tests.support.wait import wait_until

PATIENCE_SECONDS = 10.0
BIG_BYTES = 32 * 1024 * 1024
"""More than the buffers of a connection hold."""


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """Connect to the server of an address."""
    address = urlsplit(url)
    where = (str(address.hostname), int(address.port or 0))
    with socket.create_connection(where, PATIENCE_SECONDS) as connection:
        yield connection


def pause(seconds: float) -> None:
    """Be a slow client."""
    threading.Event().wait(seconds)


def read_to_end(connection: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionError:
        pass
    return received


def answer_to(url: str, *parts: bytes) -> bytes:
    """Send these bytes as far as the server takes them; return its answer, to the very end."""
    with connected(url) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except ConnectionError:
            pass
        return read_to_end(connection)


@dataclass
class WebApp:
    """An application that says how long a body is; notes which requests its clients left.

    `/big` is an answer of 32 MiB, `/endless` one that goes on until its client disconnects, and
    `/early` one that does not wait for the body.
    """

    ended: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request (ASGI)."""
        size_bytes = 0
        message: dict[str, Any] = {"type": "http.request", "more_body": True}
        while message.get("more_body") and scope["path"] != "/early":
            message = await receive()
            size_bytes += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            self.ended.append(scope["path"])
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = bytes(BIG_BYTES) if scope["path"] == "/big" else b"<%d>" % size_bytes
        is_endless = scope["path"] == "/endless"
        await send({"type": "http.response.body", "body": body, "more_body": is_endless})
        while is_endless and (await receive())["type"] != "http.disconnect":
            pass
        if is_endless:
            self.ended.append(scope["path"])


@contextmanager
def web_server(app: Any, **options: Any) -> Iterator[str]:
    """Serve an application as `local.api` does, in a thread; the value is its address."""
    ready = threading.Event()
    server = WebServer(server_config(app, **options), ready.set)
    listening = listen("127.0.0.1", 0)

    def serve() -> None:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listening]))

    thread = threading.Thread(target=serve)
    url = address_of(listening)
    thread.start()
    try:
        assert ready.wait(PATIENCE_SECONDS)
        yield url
    finally:
        server.should_exit = server.force_exit = True
        wait_until(lambda: not thread.is_alive(), PATIENCE_SECONDS, "the server to end")
