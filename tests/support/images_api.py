"""A server that speaks the OpenAI Images API, and breaks as a prompt asks it to.

A prompt may hold `<<fault>>` or `<<fault:calls>>`: the first so many calls with that very prompt
meet the fault (default 1), all others are answered in order. It keeps every call that it saw.
A stream that waits goes on when the test says so (`ImagesApi.may_go_on`).
"""

import base64
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import HTTP
from functools import cache
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Any, ClassVar
from uuid import uuid4

from PIL import Image

from tests.support.loopback_server import LoopbackServer, read_whole

KEY = "sk-tests"
MODEL = "gpt-image-2.5-flare"
USAGE = {
    "input_tokens": 12,
    "output_tokens": 1056,
    "total_tokens": 1068,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 12},
}
SLOW_SECONDS = 60.0

_FAULT = re.compile(r"<<([a-z0-9-]+)(?::([0-9]+))?>>")


@dataclass(frozen=True)
class Call:
    """One call as the server saw it.

    Attributes:
        request_id: What the server called it.
    """

    prompt: str
    n: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    request_id: str

    @property
    def references(self) -> list[bytes]:
        """The pictures that an edit began with; one is `image`, several are `image[]`."""
        one, several = self.body.get("image"), self.body.get("image[]", [])
        return several if one is None else [one]


class ImagesApi(LoopbackServer):
    """The server, in threads of this process, on a loopback port.

    Args:
        picture: Makes the bytes of an answer from width, height and shade.

    Attributes:
        honours_keys: Whether the repetition of a request, known by its key, is not billed again.
        billed: How many pictures were billed.
    """

    def __init__(self, picture: Callable[[int, int, int], bytes] | None = None) -> None:
        self.picture = picture or png
        self.calls: list[Call] = []
        self.honours_keys = False
        self.billed = 0
        self._keys: set[str] = set()
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        super().__init__(_handler_of(self))
        self.may_go_on = threading.Event()

    @property
    def base_url(self) -> str:
        """The value for OPENAI_BASE_URL."""
        return f"{self.url}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """What a worker needs to use this server."""
        return {
            "AI_MOCK_MODE": "false",
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_MODEL": MODEL,
            "OPENAI_PRICES": '{"1024x1024": 40000}',
        }

    def calls_of(self, prompt: str) -> list[Call]:
        """Return the calls whose prompt begins so, in order."""
        with self._lock:
            return [call for call in self.calls if call.prompt.startswith(prompt)]

    def forget(self) -> None:
        """Forget all calls."""
        with self._lock:
            self.calls.clear()
            self._seen.clear()
            self.may_go_on.clear()

    def note(self, call: Call) -> str | None:
        """Keep a call; return the fault that it meets."""
        with self._lock:
            self.calls.append(call)
            self._seen[call.prompt] += 1
            found = _FAULT.search(call.prompt)
            if found is None or self._seen[call.prompt] > int(found.group(2) or 1):
                key = call.headers.get("idempotency-key", call.request_id)
                if not (self.honours_keys and key in self._keys):
                    self.billed += call.n
                self._keys.add(key)
                return None
            return found.group(1)


def json_or_text(value: str) -> Any:
    """Return the number or truth value that a form's field stands for, or its text."""
    return json.loads(value) if re.fullmatch(r"[0-9]+|true|false", value) else value


@cache
def noise_png(width_px: int, height_px: int, _shade: int) -> bytes:
    """Return a picture that compresses badly: 1.5 MB at 1024 x 1024, as a photograph has."""
    image = Image.new("RGB", (width_px, height_px))
    noise = random.Random(7).randbytes(width_px * height_px * 3 // 2)
    image.paste(Image.frombytes("RGB", (width_px, height_px // 2), noise))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@cache
def png(width_px: int, height_px: int, shade: int = 120) -> bytes:
    """Return a picture of one colour."""
    buffer = BytesIO()
    Image.new("RGB", (width_px, height_px), (shade, 90, 60)).save(buffer, "PNG")
    return buffer.getvalue()


def width_of(data: bytes) -> int:
    """Return the width of a picture, which is decoded to its last pixel."""
    with Image.open(BytesIO(data)) as picture:
        picture.load()
        return picture.width


def partial_png(width_px: int, height_px: int, number: int) -> bytes:
    """Return what a picture looks like after so many others: of a shade of its own."""
    return png(width_px, height_px, 40 + 20 * number)


def _handler_of(api: ImagesApi) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"api": api})


class _Handler(BaseHTTPRequestHandler):
    api: ClassVar[ImagesApi]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a call, or break."""
        body = self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._request_id = f"req_{uuid4().hex}"
        call = Call(body["prompt"], body.get("n", 1), body, headers, self._request_id)
        fault = self.api.note(call)
        if headers.get("authorization") != f"Bearer {KEY}":
            self._refuse(401, "invalid_api_key")
        elif fault is not None:
            FAULTS[fault][1](self, body)
        else:
            self._answer(body)

    def do_GET(self) -> None:
        """Serve a picture whose address was an answer."""
        self._send(200, png(1024, 1024), "image/png")

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def _read_body(self) -> dict[str, Any]:
        data = read_whole(self)
        if self.path.endswith("/images/generations"):
            body: dict[str, Any] = json.loads(data)
            return body
        assert self.path.endswith("/images/edits")
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        form = message_from_bytes(head + data, policy=HTTP)
        fields: dict[str, Any] = {}
        for part in form.iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            if name == "image[]":
                fields.setdefault(name, []).append(content)
            else:
                fields[name] = content if part.get_filename() else json_or_text(content.decode())
        return fields

    # -- answers ---------------------------------------------------------------------------

    def _answer(self, body: Mapping[str, Any], count: int | None = None) -> None:
        size = "1024x1024" if body["size"] == "auto" else body["size"]
        width, height = map(int, size.split("x"))
        if body.get("stream"):
            self._stream(body, width, height)
            return
        images = [
            {"b64_json": base64.b64encode(self.api.picture(width, height, 40 + number)).decode()}
            for number in range(body.get("n", 1) if count is None else count)
        ]
        self._send_json({"created": int(time.time()), "data": images, "usage": USAGE})

    def _stream(
        self,
        body: Mapping[str, Any],
        width: int,
        height: int,
        events: int = 99,
        waits_after: int | None = None,
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("x-request-id", self._request_id)
        self.send_header("Connection", "close")
        self.end_headers()
        count = int(body["partial_images"])
        common = {
            "size": body["size"],
            "quality": "high",
            "background": "opaque",
            "output_format": "png",
            "created_at": int(time.time()),
        }
        kind = "image_edit" if {"image", "image[]"} & body.keys() else "image_generation"
        stream = [
            {"type": f"{kind}.partial_image", "partial_image_index": index, **common}
            for index in range(count)
        ]
        stream.append({"type": f"{kind}.completed", "usage": USAGE, **common})
        for number, event in enumerate(stream[:events]):
            if number == waits_after:
                self._wait_for_test()
            picture = self.api.picture(width, height, 40 + 20 * number)
            event["b64_json"] = base64.b64encode(picture).decode()
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
            self.wfile.write(data.encode())
            self.wfile.flush()
        self.close_connection = True

    def _wait_for_test(self) -> None:
        # A comment now and then: a silence would be a fault.
        while not (self.api.may_go_on.wait(0.2) or self.api.stopped.is_set()):
            self.wfile.write(b": wait\n\n")
            self.wfile.flush()

    def _send_json(self, content: Mapping[str, Any], status: int = 200, **headers: str) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", **headers)

    def _send(self, status: int, data: bytes, media_type: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-request-id", getattr(self, "_request_id", ""))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    # -- faults ----------------------------------------------------------------------------

    def _refuse(self, status: int, code: str, stage: str | None = None, **headers: str) -> None:
        error: dict[str, Any] = {"message": f"Refused: {code}", "type": "test", "code": code}
        if stage is not None:
            error["moderation_details"] = {"moderation_stage": stage}
        self._send_json({"error": error}, status, **headers)

    def _reset(self) -> None:
        """End the connection so that the client gets an RST."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.wfile.flush()
        self.connection.close()
        self.close_connection = True

    def _half(self, *, resets: bool) -> None:
        data = json.dumps({"created": 1, "data": [{"b64_json": "A" * 4000}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        if resets:
            self._reset()
        self.close_connection = True

    def _hang(self) -> None:
        self.api.stopped.wait(SLOW_SECONDS)
        self.close_connection = True

    def _link(self, address: str) -> None:
        self._send_json({"created": 1, "data": [{"url": address}]})


Fault = Callable[[_Handler, Mapping[str, Any]], None]


def _own_file(handler: _Handler) -> str:
    return f"{handler.api.base_url}/files/1.png"


FAULTS: Mapping[str, tuple[str, Fault]] = {
    "rate-limit": (
        "429 without Retry-After",
        lambda handler, _: handler._refuse(429, "rate_limit_exceeded"),
    ),
    "retry-after": (
        "429 with Retry-After: 1",
        lambda handler, _: handler._refuse(429, "rate_limit_exceeded", retry_after="1"),
    ),
    "quota": (
        "429 `insufficient_quota`",
        lambda handler, _: handler._refuse(429, "insufficient_quota"),
    ),
    "overloaded": ("503", lambda handler, _: handler._refuse(503, "overloaded")),
    "error": ("500", lambda handler, _: handler._refuse(500, "server_error")),
    "forbidden": ("403", lambda handler, _: handler._refuse(403, "forbidden")),
    "bad-request": ("400", lambda handler, _: handler._refuse(400, "invalid_value")),
    "bad-prompt": (
        "400, the prompt is refused by moderation",
        lambda handler, _: handler._refuse(400, "moderation_blocked", "input"),
    ),
    "bad-output": (
        "400, the picture is withheld by moderation",
        lambda handler, _: handler._refuse(400, "moderation_blocked", "output"),
    ),
    "slow": ("no first byte for a minute", lambda handler, _: handler._hang()),
    "reset": ("the connection is reset before an answer", lambda handler, _: handler._reset()),
    "reset-body": (
        "the connection is reset in the middle of the body",
        lambda handler, _: handler._half(resets=True),
    ),
    "half-body": (
        "half a body, and the end of the connection",
        lambda handler, _: handler._half(resets=False),
    ),
    "html": (
        "200 with a page instead of JSON",
        lambda handler, _: handler._send(200, b"<p>Hello</p>", "text/html"),
    ),
    "empty": (
        "200 without a picture",
        lambda handler, body: handler._answer({**body, "stream": False}, 0),
    ),
    "two-fewer": (
        "two pictures fewer than asked for",
        lambda handler, body: handler._answer(body, body["n"] - 2),
    ),
    "corrupt": (
        "a picture that is cut short",
        lambda handler, _: handler._send_json(
            {"created": 1, "data": [{"b64_json": base64.b64encode(png(64, 64)[:70]).decode()}]}
        ),
    ),
    "url": (
        "an address of its own instead of bytes",
        lambda handler, _: handler._link(_own_file(handler)),
    ),
    "private-url": (
        "an address that must not be fetched",
        lambda handler, _: handler._link("http://169.254.169.254/latest/meta-data"),
    ),
    "stream-ends": (
        "a stream that ends after two previews",
        lambda handler, body: handler._stream(body, 1024, 1024, events=2),
    ),
    "stream-waits": (
        "a stream that waits for its test after two previews",
        lambda handler, body: handler._stream(body, 1024, 1024, waits_after=2),
    ),
}
"""By their names: what the client meets, and how."""
