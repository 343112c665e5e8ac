"""A server that speaks the API of Black Forest Labs, bills, and breaks as a prompt asks it to.

A prompt may hold `<<fault>>` or `<<fault:times>>`: the first so many orders with that very prompt
meet the fault (default 1), or their images do. `<<only:n>>` makes n images of it.
"""

import json
import re
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from tests.support.images_api import png
from tests.support.loopback_server import LoopbackServer, read_whole

KEY = "bfl-tests"
MODEL = "flux-2-pro"
PRICE = 30_000
CREDITS = 3.0

REFUSALS = {
    "rate-limit": (429, "Too many active tasks"),
    "quota": (402, "Insufficient credits"),
    "error": (500, "Internal Server Error"),
    "overloaded": (503, "Service Unavailable"),
    "forbidden": (403, "Not authenticated"),
    "bad-request": (422, "Input should be less than or equal to 2048"),
}
"""Of an order, which is then neither accepted nor billed."""

ENDS = {
    "moderated": "Request Moderated",
    "withheld": "Content Moderated",
    "failed": "Error",
}
"""How an image ends that is accepted, and neither made nor billed."""

_FAULT = re.compile(r"<<([a-z-]+)(?::([0-9]+))?>>")


@dataclass(slots=True)
class FluxTask:
    """An image that was ordered and accepted."""

    id: str
    prompt: str
    body: Mapping[str, Any]
    fault: str | None
    asked: int = 0

    @property
    def is_billed(self) -> bool:
        """Whether it is made: that alone costs credits."""
        return self.fault not in ENDS

    @property
    def references(self) -> list[bytes]:
        """The pictures that the image is based on."""
        names = ["input_image", *(f"input_image_{number}" for number in range(2, 9))]
        return [b64decode(self.body[name]) for name in names if name in self.body]


@dataclass(slots=True)
class _Orders:
    tasks: dict[str, FluxTask] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)


class FluxApi(LoopbackServer):
    """The server, in threads of this process, on a loopback port.

    Attributes:
        released: Set it to finish the images that are `<<stuck>>`.
        pending: How often an image is not ready yet when it is asked for.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.pending = 1
        self.orders = _Orders()
        super().__init__(type("Handler", (_Handler,), {"api": self}))

    @property
    def base_url(self) -> str:
        """The value for FLUX_BASE_URL."""
        return f"{self.url}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """What a worker needs to use this server."""
        return {
            "AI_MOCK_MODE": "false",
            "IMAGE_PROVIDER": "flux",
            "FLUX_API_KEY": KEY,
            "FLUX_BASE_URL": self.base_url,
            "FLUX_PRICES": json.dumps({"*": PRICE}),
            "FLUX_POLL_SECONDS": "0.05",
        }

    def tasks_of(self, prompt: str) -> list[FluxTask]:
        """Return what was ordered and accepted with a prompt that begins so, in order."""
        with self.lock:
            tasks = self.orders.tasks.values()
            return [task for task in tasks if task.prompt.startswith(prompt)]

    def orders_of(self, prompt: str) -> int:
        """Return how often something was ordered with a prompt that begins so."""
        with self.lock:
            seen = self.orders.seen.items()
            return sum(count for name, count in seen if name.startswith(prompt))

    def forget(self) -> None:
        """Forget all orders."""
        with self.lock:
            self.orders = _Orders()
            self.released.clear()


class _Handler(BaseHTTPRequestHandler):
    api: ClassVar[FluxApi]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Accept an order, or refuse it."""
        body = json.loads(read_whole(self))
        assert self.path == f"/v1/{MODEL}"
        assert body["width"] % 16 == body["height"] % 16 == 0
        fault = self._fault_of(body["prompt"])
        if self.headers["x-key"] != KEY:
            self._send(403, {"detail": "Not authenticated"})
        elif fault in REFUSALS:
            status, sentence = REFUSALS[fault]
            self._send(status, {"detail": sentence})
        else:
            task = FluxTask(str(uuid4()), body["prompt"], body, fault)
            with self.api.lock:
                self.api.orders.tasks[task.id] = task
            if fault == "lost":
                self.close_connection = True
                return
            self._send(200, self._accepted(task))

    def _fault_of(self, prompt: str) -> str | None:
        with self.api.lock:
            self.api.orders.seen[prompt] += 1
            found = _FAULT.search(prompt)
            if found is None:
                return None
            name, times = found[1], int(found[2] or 1)
            count = self.api.orders.seen[prompt]
            if name == "only":
                return "failed" if count > times else None
            return name if count <= times else None

    def _accepted(self, task: FluxTask) -> dict[str, Any]:
        host = "http://192.0.2.1" if task.fault == "foreign" else self._url
        return {
            "id": task.id,
            "polling_url": f"{host}/v1/get_result?id={task.id}",
            "cost": CREDITS,
            "input_mp": 0.0,
            "output_mp": 1.0,
        }

    def do_GET(self) -> None:
        """Say how an image stands, or send it."""
        parts = urlsplit(self.path)
        name = parse_qs(parts.query)["id"][0]
        with self.api.lock:
            task = self.api.orders.tasks.get(name)
        if task is None:
            self._send(404, {"id": name, "status": "Task not found", "result": None})
        elif parts.path == "/v1/get_result":
            assert self.headers["x-key"] == KEY
            self._report(task)
        else:
            assert "x-key" not in self.headers
            self._send_picture(task)

    @property
    def _url(self) -> str:
        """Where the client finds this server."""
        return f"http://{self.headers['host']}"

    def _report(self, task: FluxTask) -> None:
        with self.api.lock:
            task.asked += 1
        if task.fault == "silent" and not self.api.released.is_set():
            self.api.stopped.wait(60)
            self.close_connection = True
        elif task.fault == "busy" and task.asked <= 3:
            self._send(500, {"detail": "Internal Server Error"})
        elif task.asked <= self.api.pending or (
            task.fault == "stuck" and not self.api.released.is_set()
        ):
            self._send(200, {"id": task.id, "status": "Pending", "result": None})
        elif task.fault in ENDS:
            details = {"Moderation Reasons": ["Safety"]}
            status = ENDS[task.fault]
            self._send(200, {"id": task.id, "status": status, "result": None, "details": details})
        else:
            sample = f"{self._url}/sample.png?id={task.id}&sig=x"
            result = {"sample": sample, "seed": task.body["seed"], "prompt": task.prompt}
            self._send(200, {"id": task.id, "status": "Ready", "result": result, "cost": CREDITS})

    def _send_picture(self, task: FluxTask) -> None:
        if task.fault == "expired":
            self._send(403, {"detail": "expired"})
            return
        data = png(task.body["width"], task.body["height"])
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with self.api.lock:
            is_cut = task.fault == "cut"
            task.fault = None if is_cut else task.fault
        self.wfile.write(data[: len(data) // 2] if is_cut else data)
        self.close_connection = is_cut

    def _send(self, status: int, content: Mapping[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""
