"""Errors as clients get them: problem details (RFC 9457) with a stable `code`.

The codes are listed in `problem_codes`, those of jobs in `shared.errors`.
"""

import random
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from shared.access.api_keys import Unauthorized
from shared.api.problem_codes import PROBLEMS
from shared.api.quotas import quota_headers, quota_reached
from shared.api.sse import portion
from shared.errors import DarkroomError, LimitReached, UnknownThing, one_line
from shared.pydantic_errors import read_problem

MEDIA_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_SECONDS = 2

INTERNAL = "the request could not be processed"
UNAVAILABLE = "a server that this request needs is unavailable; try again later"

log = structlog.get_logger(__name__)


def problem_body(code: str, detail: str, **members: Any) -> dict[str, Any]:
    """Return the JSON of a problem, with these members besides those of RFC 9457."""
    status, title = PROBLEMS[code]
    kind = f"urn:darkroom:problem:{code}"
    return {
        "type": kind, "title": title, "status": status, "detail": detail, "code": code, **members
    }  # fmt: skip


def problem(
    code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """Return a problem as a response."""
    body = problem_body(code, detail, **members)
    return JSONResponse(body, body["status"], dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: DarkroomError) -> JSONResponse:
    """Return the problem that describes an error of ours."""
    code = "not_found" if isinstance(error, UnknownThing) else error.code
    status, _ = PROBLEMS.get(code, PROBLEMS["internal"])
    if status == 500:
        log.error("request failed", code=error.code, reason=one_line(str(error)))
        return problem("internal", INTERNAL)
    if status == 503 and not isinstance(error, LimitReached):
        # The reason may hold texts of servers: it is for operators, not for clients.
        log.warning("request not served", code=code, reason=one_line(str(error)))
        return problem(code, UNAVAILABLE, headers={"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)})
    headers = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, LimitReached):
        headers["Retry-After"] = str(error.retry_after_seconds)
        headers |= quota_headers([quota_reached(error)])
    return problem(code, one_line(str(error)), headers=headers)


def is_outage_of_events(scope: Scope, status: int) -> bool:
    """Return whether a request for events is to be answered with an error that will pass.

    At any status but 200 an EventSource gives up for good (HTML Standard, "Server-sent events").
    """
    return status in (429, 503) and str(scope["path"]).endswith("/events")


def come_again(error: DarkroomError | None = None) -> Response:
    """Return the answer to a request for events that cannot be served now.

    A thousand clients above a limit would otherwise come again every two seconds, all at once.

    Args:
        error: Why.
    """
    if isinstance(error, LimitReached):
        spread = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        return portion([], round(error.retry_after_seconds * spread * 1000))
    return portion([], UNAVAILABLE_RETRY_SECONDS * 1000)


def install_problems(app: FastAPI) -> None:
    """Make the application answer every error with a problem."""

    @app.exception_handler(DarkroomError)
    async def on_our_error(request: Request, error: DarkroomError) -> Response:
        answer = problem_of(error)
        return (
            come_again(error) if is_outage_of_events(request.scope, answer.status_code) else answer
        )

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
        for item in error.errors():
            if item["type"] == "json_invalid":
                return problem("malformed_json", f"the body is not JSON: {item['ctx']['error']}")
        # The first part of a location is `body`, `query`, `path` or `header`.
        details = [{**item, "loc": item["loc"][1:] or item["loc"]} for item in error.errors()]
        found = [read_problem(detail) for detail in details]
        line = one_line("; ".join(f"{field} {message}" for field, message in found))
        return problem("invalid_request", line, errors=[each._asdict() for each in found])

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        codes = (code for code, (status, _) in PROBLEMS.items() if status == error.status_code)
        detail, headers = one_line(str(error.detail)), error.headers
        if error.status_code == 405:
            # The framework names the methods of one route, of several with the same path.
            headers = {"Allow": ", ".join(_methods_of(app, request.scope))}
        return problem(next(codes, "invalid_request"), detail, headers=headers)

    @app.exception_handler(ClientDisconnect)
    async def on_leave(_request: Request, _error: ClientDisconnect) -> JSONResponse:
        # Only the log shows it: the client has left within its body.
        return problem("invalid_request", "the body ends too early")

    @app.exception_handler(Exception)
    async def on_fault(_request: Request, _error: Exception) -> JSONResponse:
        return problem("internal", INTERNAL)


def _methods_of(app: FastAPI, scope: Scope) -> list[str]:
    return [
        method
        for method in ("GET", "POST", "PATCH", "DELETE")
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]
