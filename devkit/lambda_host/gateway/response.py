"""The HTTP response that API Gateway makes of a function's result; `HttpGateway` sends it.

API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", section
"Lambda function response for format 2.0".
"""

import base64
import json
import re
from http import HTTPStatus

from pydantic import BaseModel, Field
from starlette.responses import Response

from devkit.lambda_host.gateway.event import HOP_BY_HOP_HEADERS

DEFAULT_CONTENT_TYPE = (b"content-type", b"text/plain;charset=utf-8")

_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_CONTENT_LENGTH = b"content-length"
_HEADER_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HEADER_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")

Headers = list[tuple[bytes, bytes]]
HeaderValue = str | bool | int | float


class _Result(BaseModel):
    """What a function may return."""

    status: int = Field(alias="statusCode", ge=200, le=599)
    headers: dict[str, HeaderValue | list[HeaderValue]] | None = None
    cookies: list[str] | None = None
    body: str | None = None
    is_base64: bool = Field(alias="isBase64Encoded", default=False)


def http_response_of(payload: bytes, method: str) -> Response:
    """Return the response that a function's JSON result describes, to a request of this method.

    A result without `statusCode` is itself the body, as JSON; a string stands without quotes.

    Raises:
        ValueError: It describes none.
    """
    result = json.loads(payload)
    if not isinstance(result, dict) or "statusCode" not in result:
        body = result.encode() if isinstance(result, str) else payload
        return Response(body, media_type="application/json")
    described = _Result.model_validate(result)
    body = _body_of(described)
    headers = _headers_of(described)
    if body and not any(name == b"content-type" for name, _ in headers):
        headers.insert(0, DEFAULT_CONTENT_TYPE)
    return _with_its_length(described.status, headers, body, method)


def _with_its_length(status: int, headers: Headers, body: bytes, method: str) -> Response:
    """Return the response with its true length, and without a body where there must be none.

    The answer to HEAD has the length of what GET would get (RFC 9110, section 9.3.2): that of
    the body which the function returned in vain, or else what the function itself says.
    """
    if status in _WITHOUT_BODY:
        body = b""
    if body or method != "HEAD":
        headers = [header for header in headers if header[0] != _CONTENT_LENGTH]
        if status not in _WITHOUT_BODY:
            headers.append((_CONTENT_LENGTH, str(len(body)).encode()))
    response = Response(body, status)
    response.raw_headers = headers
    return response


def _body_of(described: _Result) -> bytes:
    body = described.body or ""
    return base64.b64decode(body, validate=True) if described.is_base64 else body.encode()


def _headers_of(described: _Result) -> Headers:
    headers = []
    for name, value in (described.headers or {}).items():
        if name.lower() not in HOP_BY_HOP_HEADERS:
            values = value if isinstance(value, list) else [value]
            headers += [_header(name, _as_text(one)) for one in values]
    return [*headers, *(_header("set-cookie", cookie) for cookie in described.cookies or [])]


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    header = name.lower().encode(), value.encode()
    if not _HEADER_NAME.fullmatch(header[0]) or not _HEADER_VALUE.fullmatch(header[1]):
        raise ValueError(f"no HTTP header: {name!r}: {value!r}")
    return header


def _as_text(value: HeaderValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
