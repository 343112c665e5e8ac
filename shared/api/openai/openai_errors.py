"""Errors as OpenAI's SDKs read them: `{"error": {"message", "type", "param", "code"}}`.

`OpenAIErrors` stands around the application. Whatever answers a request of such a client with a
problem, a route, the framework or the gate, the client reads it in this form.
"""

import json
import re
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from shared.api.gate import Gate
from shared.api.problems import MEDIA_TYPE
from shared.errors import one_line

RECEIVED_AT = "darkroom.received_at"
"""In the scope of a request: when it came, in seconds since 1970."""

_OWN_PATHS = re.compile(r"/v1/(images/(generations|edits|tasks)|models)(/.*)?")
_OTHER_PATHS = re.compile(
    r"/v1/(images/variations|(assistants|audio|batches|chat|completions|containers|conversations"
    r"|embeddings|evals|files|fine_tuning|moderations|realtime|responses|threads|uploads"
    r"|vector_stores|videos)(/.*)?)"
)
"""Paths of OpenAI's API (openai-python 3.54, `resources`) that do not exist here."""

_ROUTES = "POST /v1/images/generations, POST /v1/images/edits and GET /v1/models"

_INVALID, _SERVER = "invalid_request_error", "server_error"

_OF_PROBLEMS: Mapping[str, tuple[int, str, str]] = {
    "unauthorized": (401, _INVALID, "invalid_api_key"),
    "forbidden": (403, _INVALID, "forbidden"),
    "invalid_request": (400, _INVALID, "invalid_value"),
    "too_many_open_jobs": (429, "rate_limit_error", "rate_limit_exceeded"),
    "too_many_streams": (429, "rate_limit_error", "rate_limit_exceeded"),
    "too_many_assets": (429, "insufficient_quota", "insufficient_quota"),
    "too_many_requests": (429, "rate_limit_error", "rate_limit_exceeded"),
    "too_many_submissions": (429, "rate_limit_error", "rate_limit_exceeded"),
    "budget_exceeded": (429, "insufficient_quota", "insufficient_quota"),
}
"""Status, type and code by the code of a problem, where they are not the problem's own."""

_OF_JOBS: Mapping[str, tuple[int, str, str]] = {
    "prompt_rejected": (400, "image_generation_user_error", "moderation_blocked"),
    "output_rejected": (400, "image_generation_user_error", "moderation_blocked"),
    "invalid_request": (400, _INVALID, "invalid_value"),
    "request_rejected": (400, _INVALID, "request_rejected"),
    "cost_limit": (400, _INVALID, "cost_limit"),
    "budget_exceeded": (429, "insufficient_quota", "insufficient_quota"),
    "cancelled": (409, _INVALID, "cancelled"),
    "rate_limited": (429, "rate_limit_error", "rate_limit_exceeded"),
    "provider_overloaded": (429, "rate_limit_error", "rate_limit_exceeded"),
    "quota_exceeded": (429, "insufficient_quota", "insufficient_quota"),
    "provider_unavailable": (502, _SERVER, "provider_unavailable"),
    "provider_authentication": (502, _SERVER, "provider_authentication"),
    "provider_timeout": (504, _SERVER, "provider_timeout"),
    "soft_time_limit": (504, _SERVER, "soft_time_limit"),
    "time_limit": (504, _SERVER, "time_limit"),
}
"""Status, type and code by the code of a failed job; all others are 500."""

_OUR_FIELDS = {
    "asset": "image",
    "source_asset_id": "image",
    "reference_asset_ids": "image",
    "mask_asset_id": "mask",
}
"""What these clients call the pictures of a request."""

_FIELD = re.compile(r"([a-z_]+)(?:: | (?=should|must|Field|Input|Extra))")


@dataclass(frozen=True, slots=True)
class OpenAIError:
    """One error: its HTTP status, and the object that clients read."""

    status: int
    body: Mapping[str, Any]

    def as_response(self, headers: Mapping[str, str] | None = None) -> JSONResponse:
        """Return it as the answer to a request."""
        return JSONResponse({"error": self.body}, self.status, dict(headers or {}))


def error_of_job(error: Mapping[str, Any]) -> OpenAIError:
    """Return the error of a failed job."""
    own = str(error.get("code", "internal"))
    status, kind, code = _OF_JOBS.get(own, (500, _SERVER, own))
    return OpenAIError(status, _body(str(error.get("message", "")), kind, None, code))


def running_error(seconds: float) -> OpenAIError:
    """Return the error that answers a request whose job takes longer than the answer may."""
    line = (
        f"the job has not ended within {seconds:g} s and goes on: repeat the request with"
        " the same Idempotency-Key (an SDK's own retry needs none), or send Prefer: respond-async"
    )
    return OpenAIError(503, _body(line, _SERVER, None, "job_running"))


def error_of_problem(problem: Mapping[str, Any], method: str, path: str) -> OpenAIError:
    """Return the error that says what a problem says."""
    code, detail = problem["code"], problem["detail"]
    if code == "method_not_allowed" or _OTHER_PATHS.fullmatch(path):
        line = f"{method} {path} does not exist here; this service has {_ROUTES}"
        return OpenAIError(404, _body(one_line(line), _INVALID, None, "unknown_url"))
    own = problem["status"]
    default = (own, _SERVER if own >= 500 else _INVALID, code)
    status, kind, code = _OF_PROBLEMS.get(code, default)
    field, colon, rest = detail.partition(":")
    if field in _OUR_FIELDS:
        detail = f"{_OUR_FIELDS[field]}{colon}{rest}"
    if code == "not_found" and path.startswith("/v1/models/"):
        code = "model_not_found"
    return OpenAIError(status, _body(detail, kind, _parameter_of(problem), code))


def _parameter_of(problem: Mapping[str, Any]) -> str | None:
    for named in problem.get("errors", ()):
        return str(named["field"])
    found = _FIELD.match(problem["detail"]) if problem["status"] == 422 else None
    name = found.group(1) if found else None
    return _OUR_FIELDS.get(name or "", name)


def _body(message: str, kind: str, param: str | None, code: str) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": param, "code": code}


class OpenAIErrors:
    """Passes requests on, and gives those of OpenAI's clients errors in their own form."""

    def __init__(self, app: Gate) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Serve one connection (ASGI); a connection of another client costs nothing here."""
        path = scope.get("path", "")
        if _OWN_PATHS.fullmatch(path) or _OTHER_PATHS.fullmatch(path):
            return self._serve(scope, receive, send)
        return self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message | None = None
        body = bytearray()

        async def translate(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
                return
            if start is None:
                await send(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                error = error_of_problem(json.loads(body), scope["method"], scope["path"])
                headers = Headers(raw=start["headers"])
                kept = {name: headers[name] for name in headers if not name.startswith("content-")}
                await error.as_response(kept)(scope, receive, send)

        scope.setdefault(RECEIVED_AT, time.time())
        await self.app(scope, receive, translate)


def _is_problem(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type") == MEDIA_TYPE
