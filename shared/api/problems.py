"""Errors as clients get them: problem details (RFC 9457) with a stable `code`."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.access.api_keys import Unauthorized
from shared.api.problem_codes import PROBLEMS
from shared.errors import DarkroomError, LimitReached, UnknownThing, one_line
from shared.pydantic_errors import read_problem

MEDIA_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_SECONDS = 2

INTERNAL = "the request could not be processed"
UNAVAILABLE = "a server that this request needs is unavailable; try again later"

_HTTP_CODES = {
    400: "malformed_json",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}

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
    if status == 503:
        # The reason may hold texts of servers: it is for operators, not for clients.
        log.warning("request not served", code=code, reason=one_line(str(error)))
        return problem(code, UNAVAILABLE, headers={"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)})
    headers = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, LimitReached):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return problem(code, one_line(str(error)), headers=headers)


def install_problems(app: FastAPI) -> None:
    """Make the application answer every error with a problem."""

    @app.exception_handler(DarkroomError)
    async def on_our_error(_request: Request, error: DarkroomError) -> JSONResponse:
        return problem_of(error)

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
    async def on_http_error(_request: Request, error: HTTPException) -> JSONResponse:
        code = _HTTP_CODES.get(error.status_code, "invalid_request")
        return problem(code, one_line(str(error.detail)), headers=error.headers)

    @app.exception_handler(Exception)
    async def on_fault(_request: Request, _error: Exception) -> JSONResponse:
        return problem("internal", INTERNAL)
