"""The HTTP response that API Gateway makes of a function's result; `GatewayApp` sends it.

API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", section
"Lambda function response for format 2.0".
"""

import base64
import json
import re
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import BaseModel, Field

from devkit.lambda_host.gateway.event import HOP_BY_HOP_HEADERS

DEFAULT_CONTENT_TYPE = (b"content-type", b"text/plain;charset=utf-8")
JSON_CONTENT_TYPE = (b"content-type", b"application/json")

_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_CONTENT_LENGTH = b"content-length"
_HEADER_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HEADER_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")

Headers = tuple[tuple[bytes, bytes], ...]
HeaderValue = str | bool | int | float


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What a client gets; header names are in lower case."""

    status: int
    headers: Headers = ()
    body: bytes = b""


class _FunctionResponse(BaseModel):
    """What a function may return."""

    status: int = Field(alias="statusCode", ge=200, le=599)
    headers: dict[str, HeaderValue | list[HeaderValue]] | None = None
    cookies: list[str] | None = None
    body: str | None = None
    is_base64: bool = Field(alias="isBase64Encoded", default=False)


def _failure(status: HTTPStatus, message: str) -> HttpResponse:
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    return HttpResponse(status, (JSON_CONTENT_TYPE,), body)


INTERNAL_SERVER_ERROR = _failure(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
REQUEST_TOO_LARGE = _failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Entity Too Large")
SERVICE_UNAVAILABLE = _failure(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable")


def response_of(payload: bytes) -> HttpResponse:
    """Return the response that a function's JSON result describes.

    A result without `statusCode` is itself the body, as JSON; a string stands without quotes.

    Raises:
        ValueError: It describes none.
    """
    result = json.loads(payload)
    if not isinstance(result, dict) or "statusCode" not in result:
        body = result.encode() if isinstance(result, str) else payload
        return HttpResponse(HTTPStatus.OK, (JSON_CONTENT_TYPE,), body)
    described = _FunctionResponse.model_validate(result)
    body = _body_of(described)
    headers = _headers_of(described)
    if body and not any(name == b"content-type" for name, _ in headers):
        headers = (DEFAULT_CONTENT_TYPE, *headers)
    return HttpResponse(described.status, headers, body)


def as_sent(response: HttpResponse, method: str) -> HttpResponse:
    """Return the response with the length that it has, and without a body where none may be.

    The answer to HEAD tells the length of what GET would get (RFC 9110, section 9.3.2): that of
    the body which the function gave in vain, or else what the function itself says.
    """
    if method == "HEAD" and not response.body:
        return response
    headers = tuple(header for header in response.headers if header[0] != _CONTENT_LENGTH)
    if response.status in _WITHOUT_BODY:
        return HttpResponse(response.status, headers)
    headers = (*headers, (_CONTENT_LENGTH, str(len(response.body)).encode()))
    body = b"" if method == "HEAD" else response.body
    return HttpResponse(response.status, headers, body)


def _body_of(described: _FunctionResponse) -> bytes:
    body = described.body or ""
    return base64.b64decode(body, validate=True) if described.is_base64 else body.encode()


def _headers_of(described: _FunctionResponse) -> Headers:
    headers = []
    for name, value in (described.headers or {}).items():
        if name.lower() not in HOP_BY_HOP_HEADERS:
            values = value if isinstance(value, list) else [value]
            headers += [_header(name, _as_text(one)) for one in values]
    return (*headers, *(_header("set-cookie", cookie) for cookie in described.cookies or []))


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    header = name.lower().encode(), value.encode()
    if not _HEADER_NAME.fullmatch(header[0]) or not _HEADER_VALUE.fullmatch(header[1]):
        raise ValueError(f"no HTTP header: {name!r}: {value!r}")
    return header


def _as_text(value: HeaderValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
