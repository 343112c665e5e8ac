"""What only a process that streams can promise: few connections, and nothing left of clients."""

import signal
import socket
from contextlib import ExitStack, closing
from functools import partial
from io import BytesIO
from typing import Any, cast
from urllib.parse import urlsplit

import psutil
from PIL import Image

from local.open_files import streams_of_a_workspace
from local.web.sizes import THREADS
from tests.support.api import OTHER_WORKSPACE, Api, ApiWithFewFiles
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

COMINGS = 1_000
AT_ONCE = 100

POOLED = THREADS + 2
"""Connections that the API's threads keep, to Redis and to PostgreSQL each."""

READERS = 40
PICTURE_LEAST_BYTES = 2_000_000

HUB = 2
"""One that listens and one that reads, whatever the number of clients."""


def open_stream(api: Api, url: str) -> socket.socket:
    """Open an event stream and return its connection once it has answered."""
    address = urlsplit(api.url)
    connection = socket.create_connection((str(address.hostname), int(address.port or 0)), 10)
    connection.sendall(f"GET {url} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    return connection


def clients(runtime: Runtime) -> list[dict[str, Any]]:
    """Return Redis's own list of connections."""
    return cast(list[dict[str, Any]], runtime.redis_client.client_list())


def test_a_thousand_clients_come_and_go_and_leave_nothing(celery_runtime: Runtime) -> None:
    """No stream, no subscription, no connection, no open file."""
    runtime = celery_runtime
    api = runtime.api
    with runtime.paused():
        job = api.submit("a mug")
        process = psutil.Process(api.process.pid)
        connections = len(clients(runtime)) + POOLED
        files = process.num_fds() + 2 * POOLED
        for _ in range(COMINGS // AT_ONCE):
            with ExitStack() as undo:
                for _ in range(AT_ONCE):
                    undo.enter_context(closing(open_stream(api, job["urls"]["events"])))
                assert len(clients(runtime)) <= connections + HUB
        wait_until(lambda: subscriptions(runtime) == 0, 15, "every client to be gone")
        wait_until(lambda: len(clients(runtime)) <= connections, 15, "connections to be closed")
        wait_until(lambda: process.num_fds() <= files, 15, "files to be closed")
        slots = runtime.redis_client
        wait_until(lambda: slots.zcard("open_streams:default") == 0, 15, "slots to be free")


def test_streams_of_one_workspace_leave_connections_to_others(celery_runtime: Runtime) -> None:
    """However few files the process may open; those beyond are to come again."""
    runtime, files = celery_runtime, ApiWithFewFiles.files
    with runtime.api_with_few_files() as api, runtime.paused(), ExitStack() as undo:
        job = api.submit("a mug")
        for _ in range(files):
            undo.enter_context(closing(open_stream(api, job["urls"]["events"])))
        assert runtime.redis_client.zcard("open_streams:default") == streams_of_a_workspace(files)
        with api.client_of(OTHER_WORKSPACE) as stranger:
            assert stranger.get("/v1/generations").status_code == 200
        assert psutil.Process(api.process.pid).num_fds() < files


def test_readers_of_a_picture_who_stall_hold_a_piece_each(celery_runtime: Runtime) -> None:
    """Not the whole of it."""
    api = celery_runtime.api
    buffer = BytesIO()
    Image.effect_noise((1_700, 1_700), 100).save(buffer, "PNG")
    headers = {"Content-Type": "image/png"}
    asset = api.client.post("/v1/assets", content=buffer.getvalue(), headers=headers).json()
    assert asset["size_bytes"] > PICTURE_LEAST_BYTES
    process = psutil.Process(api.process.pid)
    before = process.memory_info().rss
    with ExitStack() as undo:
        for _ in range(READERS):
            undo.enter_context(closing(open_stream(api, asset["url"])))
        assert api.client.get("/healthz").status_code == 200
        assert process.memory_info().rss - before < READERS * PICTURE_LEAST_BYTES / 3


def test_a_stopping_api_sends_its_clients_away_at_once(celery_runtime: Runtime) -> None:
    """They learn when to reconnect, and their streams end in order."""
    api = celery_runtime.api
    with celery_runtime.paused():
        job = api.submit("a mug")
        with ExitStack() as undo:
            streams = [
                undo.enter_context(closing(open_stream(api, job["urls"]["events"])))
                for _ in range(20)
            ]
            process = psutil.Process(api.process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=8)
            for stream in streams:
                received = b"".join(iter(partial(stream.recv, 65536), b""))
                assert received.endswith(b"0\r\n\r\n"), "the response was not ended in order"
                assert b"retry: " in received
        api.process.start()


def subscriptions(runtime: Runtime) -> int:
    """Return how many channels of jobs have a subscriber."""
    channels: Any = runtime.redis_client.pubsub_channels("task_updates:*")
    return len(channels)
