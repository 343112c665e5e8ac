"""What a hostile server, row or event may hold never reaches the terminal."""

import json
import os
import pty
import re
import subprocess
import threading
import unicodedata
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared.api.documentation import example_jobs
from tests.support.cli import PATIENCE_SECONDS, command, darkroom, tidy_environment

HOSTILE = "\x1b]0;owned\x07 \x9b2J\x08\u202eevil\u2066\u200b\xad\x7f\u2028\x85\u0600"
TEXTS = {"prompt", "message", "product_id", "model", "code", "detail", "title", "provider"}


def poisoned(value: Any, name: str = "") -> Any:
    """Return what the API answers with, with a hostile text wherever one may stand."""
    if isinstance(value, Mapping):
        keys = {key: poisoned(part, key) for key, part in value.items()}
        return {f"{k}{HOSTILE}": v for k, v in keys.items()} if name == "metadata" else keys
    if isinstance(value, list):
        return [poisoned(part, name) for part in value]
    is_text = name in TEXTS or (isinstance(value, str) and name == "order")
    return f"{value}{HOSTILE}" if is_text else value


JOB = poisoned(example_jobs()["failed"] | {"product_id": "mug"})
EVENTS = [
    {"status": "processing", "progress": 10, "message": f"Rendering{HOSTILE}"},
    {"status": "failed", "progress": 10, "message": f"Rejected{HOSTILE}"},
]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "/events" in self.path:
            frames = [f"id: {n}-0\ndata: {json.dumps(step)}\n\n" for n, step in enumerate(EVENTS)]
            self._send(200, "text/event-stream", "".join(frames))
        elif self.path.startswith("/v1/generations/"):
            self._send(200, "application/json", json.dumps(JOB))
        else:
            self._send(200, "application/json", json.dumps({"items": [JOB], "next_cursor": None}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        problem = {"type": "x", "title": "x", "status": 409, "detail": "no", "code": "x"}
        self._send(409, "application/problem+json", json.dumps(poisoned(problem)))

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def _send(self, status: int, media_type: str, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    """Give an environment whose API is hostile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    with tidy_environment() as environment:
        yield {**environment, "DARKROOM_URL": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    thread.join()
    server.server_close()


def hidden_in(text: str) -> set[str]:
    """Return the characters of a text that a terminal would obey, but for line ends."""
    kinds = ("Cc", "Cf", "Zl", "Zp")
    return {sign for sign in text if unicodedata.category(sign) in kinds} - {"\n", "\r"}


@pytest.mark.parametrize(
    "words",
    [
        ("jobs",),
        ("jobs", "--json"),
        ("show", JOB["id"]),
        ("show", JOB["id"], "--json"),
        ("follow", JOB["id"]),
        ("follow", JOB["id"], "--json"),
        ("cancel", JOB["id"]),
        ("generate", "a mug"),
    ],
    ids=" ".join,
)
def test_no_command_prints_what_a_terminal_obeys(
    environment: Mapping[str, str], words: tuple[str, ...]
) -> None:
    """In lines and in JSON, on standard output and standard error; JSON keeps its meaning."""
    done = darkroom(environment, *words)
    assert hidden_in(done.stdout + done.stderr) == set()
    assert "evil" in done.stdout + done.stderr
    if words == ("show", JOB["id"], "--json"):
        assert json.loads(done.stdout)["prompt"] == JOB["prompt"]


def test_a_bar_on_a_terminal_holds_nothing_of_an_event_that_it_obeys(
    environment: Mapping[str, str],
) -> None:
    """The bar's own commands are colours, and moves of the cursor within it."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        command("follow", JOB["id"]),
        env={**environment, "TERM": "xterm", "COLUMNS": "200"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(controller, 65_536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(controller)
        process.wait(PATIENCE_SECONDS)
    own = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "evil" in own
    assert hidden_in(own) == set()
