"""A server that speaks the Gemini API, and breaks as a prompt asks it to.

A prompt may hold `<<fault>>` or `<<fault:calls>>`: the first so many calls with that very prompt
meet the fault (default 1). `<<only:n>>` gives it n images at most.
"""

import json
import re
import threading
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from tests.support.images_api import png
from tests.support.loopback_server import LoopbackServer, read_whole

KEY = "AIza-tests"
MODEL = "gemini-3.1-flash-image"
PRICE = 39_000
USAGE = {"promptTokenCount": 12, "candidatesTokenCount": 1290, "thoughtsTokenCount": 10}

_FAULT = re.compile(r"<<([a-z-]+)(?::([0-9]+))?>>")
_SIZES = {"1:1": (1024, 1024), "2:3": (1024, 1536), "3:2": (1536, 1024)}


@dataclass(frozen=True)
class GeminiCall:
    """One call as the server saw it, and whether it was billed."""

    prompt: str
    model: str
    body: Mapping[str, Any]
    is_billed: bool

    @property
    def references(self) -> list[bytes]:
        """The pictures that the images are based on."""
        parts = self.body["contents"][0]["parts"][1:]
        return [b64decode(part["inlineData"]["data"]) for part in parts]


class GeminiApi(LoopbackServer):
    """The server, in threads of this process, on a loopback port."""

    def __init__(self) -> None:
        self.calls: list[GeminiCall] = []
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()
        super().__init__(type("Handler", (_Handler,), {"api": self}))

    @property
    def base_url(self) -> str:
        """The value for GEMINI_BASE_URL."""
        return f"{self.url}/v1beta"

    @property
    def environment(self) -> dict[str, str]:
        """What a worker needs to use this server."""
        return {
            "AI_MOCK_MODE": "false",
            "IMAGE_PROVIDER": "gemini",
            "GEMINI_API_KEY": KEY,
            "GEMINI_BASE_URL": self.base_url,
            "GEMINI_PRICES": json.dumps({"*": PRICE}),
        }

    def calls_of(self, prompt: str) -> list[GeminiCall]:
        """Return the calls whose prompt begins so, in order."""
        with self.lock:
            return [call for call in self.calls if call.prompt.startswith(prompt)]


class _Handler(BaseHTTPRequestHandler):
    api: ClassVar[GeminiApi]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a call, or break."""
        body = json.loads(read_whole(self))
        prompt = body["contents"][0]["parts"][0]["text"]
        found = _FAULT.search(prompt)
        name, number = (found.group(1), int(found.group(2) or 1)) if found else ("", 0)
        with self.api.lock:
            self.api.seen[prompt] += 1
            is_met = self.api.seen[prompt] <= number
            if name == "only":
                is_met = self.api.seen[prompt] > number
            model = self.path.rpartition("/")[2].partition(":")[0]
            is_billed = not is_met or name in ("cut", "bad-data")
            self.api.calls.append(GeminiCall(prompt, model, body, is_billed))
        if self.headers["x-goog-api-key"] != KEY:
            self._refuse(400, "API key not valid.", [{"reason": "API_KEY_INVALID"}])
        elif is_met:
            self._break(name, body)
        else:
            self._answer(body)

    def _answer(self, body: Mapping[str, Any]) -> None:
        self._send(200, {"candidates": [_candidate(_picture_of(body))], "usageMetadata": USAGE})

    def _break(self, name: str, body: Mapping[str, Any]) -> None:
        match name:
            case "blocked":
                self._send(200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
            case "withheld":
                self._send(200, {"candidates": [{"finishReason": "IMAGE_SAFETY"}]})
            case "only" | "no-image":
                words = {"content": {"parts": [{"text": "I cannot."}]}, "finishReason": "NO_IMAGE"}
                self._send(200, {"candidates": [words], "usageMetadata": USAGE})
            case "cut":
                self._send(200, {"candidates": [_candidate(_picture_of(body)[:90])]})
            case "bad-data":
                part = {"inlineData": {"mimeType": "image/png", "data": "?"}}
                self._send(200, {"candidates": [{"content": {"parts": [part]}}]})
            case "strange":
                self._send(200, {"candidates": [7, {"content": {"parts": ["x", {}]}}]})
            case "rate-limit":
                self._refuse(429, "Resource has been exhausted.", [])
            case "overloaded":
                self._refuse(503, "The model is overloaded.", [])
            case "bad-key":
                self._refuse(400, "API key not valid.", [{"reason": "API_KEY_INVALID"}])
            case "bad-request":
                self._refuse(400, "Invalid value at image_size.", [])
            case _:
                self._refuse(500, "Internal error.", [])

    def _refuse(self, status: int, message: str, details: list[dict[str, str]]) -> None:
        error = {"code": status, "message": message, "status": "WORD", "details": details}
        self._send(status, {"error": error})

    def _send(self, status: int, content: Mapping[str, Any]) -> None:
        data = json.dumps({"responseId": "response-1", **content}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


def _picture_of(body: Mapping[str, Any]) -> bytes:
    shape = body["generationConfig"]["imageConfig"]
    assert shape["imageSize"] == "1K"
    return png(*_SIZES[shape["aspectRatio"]])


def _candidate(picture: bytes) -> dict[str, Any]:
    """Return a result: the model's thoughts, its words, and the picture."""
    draft = {"mimeType": "image/png", "data": b64encode(png(8, 8)).decode()}
    final = {"mimeType": "image/png", "data": b64encode(picture).decode()}
    parts = [{"inlineData": draft, "thought": True}, {"text": "Here it is."}, {"inlineData": final}]
    return {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}
