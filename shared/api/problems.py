"""Errors as clients get them: problem details (RFC 9457) with a stable `code`."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared import errors
from shared.access.api_keys import Unauthorized
from shared.access.signatures import ExpiredToken, InvalidToken
from shared.errors import DarkroomError, LimitReached, one_line
from shared.pydantic_errors import read_problem

MEDIA_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_SECONDS = 2

_STATUSES: Mapping[type[DarkroomError], int] = {
    Unauthorized: 401,
    InvalidToken: 401,
    ExpiredToken: 401,
    errors.UnknownThing: 404,
    errors.JobRuns: 409,
    errors.AssetInUse: 409,
    errors.InvalidRequest: 422,
    errors.IdempotencyKeyReused: 422,
    errors.TooManyOpenJobs: 429,
    errors.TooManyStreams: 429,
    errors.ServiceUnavailable: 503,
    errors.StorageUnavailable: 503,
}

_TITLES = {
    "malformed_json": "The body is not JSON",
    "unauthorized": "An API key is needed",
    "invalid_token": "The address is not valid",
    "expired_token": "The address has expired",
    "forbidden": "Not allowed from here",
    "not_found": "Not found",
    "method_not_allowed": "This method is not allowed here",
    "job_running": "The job has not ended",
    "asset_in_use": "The asset is needed",
    "payload_too_large": "The body is too large",
    "unsupported_media_type": "The type of the body is not accepted here",
    "invalid_request": "The request is not valid",
    "idempotency_key_reused": "The Idempotency-Key belongs to another request",
    "too_many_open_jobs": "Too many open jobs",
    "too_many_streams": "Too many open event streams",
    "internal": "An unexpected error occurred",
    "service_unavailable": "A server cannot be reached",
    "storage_unavailable": "The image store cannot be reached",
}

_HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}

_FAULT = "the request could not be processed"


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    """Return a problem, with these members besides those of RFC 9457."""
    body = {
        "type": f"urn:darkroom:problem:{code}",
        "title": _TITLES.get(code, code),
        "status": status,
        "detail": detail,
        "code": code,
        **members,
    }
    return JSONResponse(body, status, dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: DarkroomError) -> JSONResponse:
    """Return the problem that describes an error of ours."""
    status = next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 500)
    if status == 500:
        return problem(500, "internal", _FAULT)
    code = "not_found" if status == 404 else error.code
    return problem(status, code, one_line(str(error)), headers=_headers(error, status))


def install_problems(app: FastAPI) -> None:
    """Make the application answer every error with a problem."""

    @app.exception_handler(DarkroomError)
    async def on_our_error(_request: Request, error: DarkroomError) -> JSONResponse:
        return problem_of(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
        details = [_within_body(detail) for detail in error.errors()]
        for detail in details:
            if detail["type"] == "json_invalid":
                reason = detail.get("ctx", {}).get("error", "")
                return problem(400, "malformed_json", one_line(f"the body is not JSON: {reason}"))
        found = [read_problem(detail) for detail in details]
        line = one_line("; ".join(f"{field} {message}" for field, message in found))
        return problem(422, "invalid_request", line, errors=[each._asdict() for each in found])

    @app.exception_handler(HTTPException)
    async def on_http_error(_request: Request, error: HTTPException) -> JSONResponse:
        code = _HTTP_CODES.get(error.status_code, "invalid_request")
        return problem(error.status_code, code, one_line(str(error.detail)), headers=error.headers)

    @app.exception_handler(Exception)
    async def on_fault(_request: Request, _error: Exception) -> JSONResponse:
        return problem(500, "internal", _FAULT)


def _headers(error: DarkroomError, status: int) -> dict[str, str]:
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, LimitReached):
        return {"Retry-After": str(error.retry_after_seconds)}
    if status == 503:
        return {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)}
    return {}


def _within_body(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a detail whose location begins inside its place: `body`, `query`, ..."""
    place, *path = detail["loc"]
    return {**detail, "loc": path or [place]}
