"""The event that API Gateway makes of an HTTP request; `HttpGateway` sends it to the function.

API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", payload format
version 2.0.
"""

import base64
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from string import printable
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.requests import Request

from devkit.lambda_host.function import ACCOUNT_ID

API_ID = "local"
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
    cookies = [
        cookie.strip()
        for name, value in headers
        if name == "cookie"
        for cookie in value.split(";")
        if cookie.strip()
    ]
    parameters = _joined(parse_qsl(raw_query, keep_blank_values=True))
    return {
        "version": "2.0",
        "routeKey": ROUTE,
        "rawPath": request.scope["path"],
        "rawQueryString": raw_query,
        **({"cookies": cookies} if cookies else {}),
        "headers": _headers_of(request, headers, body),
        **({"queryStringParameters": parameters} if parameters else {}),
        "requestContext": _context_of(request, request_id, received_at),
        **_body_of(body, request.headers.get("content-type", "")),
    }


def is_text(content_type: str) -> bool:
    """Return whether a body of this type goes into the event unencoded."""
    return _TEXT_TYPE.fullmatch(content_type.partition(";")[0].strip().lower()) is not None


def _headers_of(request: Request, sent: Iterable[tuple[str, str]], body: bytes) -> dict[str, str]:
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


def _context_of(request: Request, request_id: str, received_at: datetime) -> dict[str, Any]:
    host = request.headers.get("host", "")
    return {
        "accountId": ACCOUNT_ID,
        "apiId": API_ID,
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
    }


def _body_of(body: bytes, content_type: str) -> dict[str, Any]:
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
