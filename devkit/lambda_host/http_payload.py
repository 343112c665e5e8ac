"""What API Gateway makes of an HTTP request, and of a function's result.

API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", payload format
version 2.0. `devkit.lambda_host.gateway` sends both.
"""

import base64
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from string import printable
from typing import Any
from urllib.parse import parse_qsl, quote

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from devkit.lambda_host.function import ACCOUNT_ID

ROUTE = "$default"

HOP_BY_HOP_HEADERS = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""They concern one connection, which ends here (RFC 9110, section 7.6.1)."""

_NOT_PASSED_ON = HOP_BY_HOP_HEADERS | {"cookie", "expect"}
_TEXT_TYPE = re.compile(r"text/.+|application/(?:json|javascript|xml|.+\+(?:json|xml))")
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")

HeaderValue = str | bool | int | float


def http_event_of(
    request: Request, body: bytes, request_id: str, received_at: datetime
) -> dict[str, Any]:
    """Return the event of a request; what may be absent is left out and never null.

    `rawPath` is percent-decoded, as HTTP APIs alone do it (github.com/fastify/aws-lambda-fastify
    issue 169 shows a captured event). Mangum decodes it once more: a path that was encoded twice
    reaches an application decoded twice, here as on AWS.
    """
    # A client may send raw bytes; JSON cannot carry them, and both forms mean the same.
    raw_query = quote(request.scope["query_string"], safe=printable)
    headers = [(_text(name), _text(value)) for name, value in request.headers.raw]
    sent = ";".join(value for name, value in headers if name == "cookie")
    cookies = [cookie.strip() for cookie in sent.split(";") if cookie.strip()]
    host = request.headers.get("host", "")
    parameters = _joined(parse_qsl(raw_query, keep_blank_values=True))
    return {
        "version": "2.0",
        "routeKey": ROUTE,
        "rawPath": request.scope["path"],
        "rawQueryString": raw_query,
        **({"cookies": cookies} if cookies else {}),
        "headers": _event_headers(request, headers, body),
        **({"queryStringParameters": parameters} if parameters else {}),
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.partition(":")[0].partition(".")[0],
            "http": {
                "method": request.method,
                "path": request.scope["path"],
                "protocol": f"HTTP/{request.scope['http_version']}",
                "sourceIp": _client_of(request),
                "userAgent": request.headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": ROUTE,
            "stage": "$default",
            "time": received_at.strftime("%d/%b/%Y:%H:%M:%S %z"),
            "timeEpoch": int(received_at.timestamp() * 1000),
        },
        **_event_body(body, request.headers.get("content-type", "")),
    }


def is_text(content_type: str) -> bool:
    """Return whether a body of this type goes into the event unencoded."""
    return _TEXT_TYPE.fullmatch(content_type.partition(";")[0].strip().lower()) is not None


def _event_headers(
    request: Request, sent: Iterable[tuple[str, str]], body: bytes
) -> dict[str, str]:
    headers = _joined((name, value) for name, value in sent if name not in _NOT_PASSED_ON)
    forwarded_for = headers.get("x-forwarded-for")
    client = _client_of(request)
    headers["x-forwarded-for"] = f"{forwarded_for}, {client}" if forwarded_for else client
    headers["x-forwarded-port"] = str(request.scope["server"][1])
    headers["x-forwarded-proto"] = request.scope["scheme"]
    if body:
        # A chunked body arrives without a length.
        headers["content-length"] = str(len(body))
    return headers


def _event_body(body: bytes, content_type: str) -> dict[str, Any]:
    if not body:
        return {"isBase64Encoded": False}
    if is_text(content_type):
        with suppress(UnicodeDecodeError):
            return {"body": body.decode(), "isBase64Encoded": False}
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _client_of(request: Request) -> str:
    return request.client.host if request.client else ""


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class _Result(BaseModel):
    """What a function may return."""

    status: int = Field(alias="statusCode", ge=200, le=599)
    headers: dict[str, HeaderValue | list[HeaderValue]] = {}
    cookies: list[str] = []
    body: str = ""
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
    given = _Result.model_validate({name: one for name, one in result.items() if one is not None})
    body = base64.b64decode(given.body, validate=True) if given.is_base64 else given.body.encode()
    response = Response(b"" if given.status in _WITHOUT_BODY else body, given.status)
    headers = _response_headers(given)
    if body and "content-type" not in dict(headers):
        headers.insert(0, ("content-type", "text/plain;charset=utf-8"))
    # The answer to HEAD has the length of what GET would get (RFC 9110, section 9.3.2): that of
    # the body which the function returned in vain, or else what the function itself says.
    if response.body or method != "HEAD":
        headers = [header for header in headers if header[0] != "content-length"]
        if given.status not in _WITHOUT_BODY:
            headers.append(("content-length", str(len(response.body))))
    response.raw_headers = [(name.encode(), value.encode()) for name, value in headers]
    return response


def _response_headers(given: _Result) -> list[tuple[str, str]]:
    headers = [
        (name.lower(), str(one).lower() if isinstance(one, bool) else str(one))
        for name, value in given.headers.items()
        for one in (value if isinstance(value, list) else [value])
        if name.lower() not in HOP_BY_HOP_HEADERS
    ]
    headers += [("set-cookie", cookie) for cookie in given.cookies]
    for name, text in headers:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"no HTTP header: {name!r}: {text!r}")
    return headers
