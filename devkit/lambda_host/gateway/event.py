"""The event that API Gateway makes of an HTTP request; `GatewayApp` sends it to the function.

API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", payload format
version 2.0.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from string import printable
from typing import Any
from urllib.parse import parse_qsl, quote

from devkit.lambda_host.function import ACCOUNT_ID

API_ID = "local"
ROUTE = "$default"

HOP_BY_HOP_HEADERS = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""They speak of one connection, which ends here (RFC 9110, section 7.6.1)."""

_NOT_PASSED_ON = HOP_BY_HOP_HEADERS | {"cookie", "expect"}
_TEXT_TYPE = re.compile(r"text/.+|application/(?:json|javascript|xml|.+\+(?:json|xml))")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What a client has sent.

    Attributes:
        id: Given by the gateway.
        path: Percent-decoded.
        query: As it was sent, without the question mark.
        headers: In the order they came, names in lower case.
        http_version: `1.0` or `1.1`.
        server_port: The port that the client has reached.
        received_at: When it was complete.
    """

    id: str
    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    http_version: str
    scheme: str
    client_address: str
    server_port: int
    received_at: datetime


def http_event_of(request: HttpRequest) -> dict[str, Any]:
    """Return the event of a request; what may be absent is left out and never null.

    `rawPath` is percent-decoded, as HTTP APIs alone do it (github.com/fastify/aws-lambda-fastify
    issue 169 shows a captured event). Mangum decodes it once more: a path that was encoded twice
    reaches an application decoded twice, here as on AWS.
    """
    # A client may send raw bytes; JSON cannot carry them, and both forms mean the same.
    raw_query = quote(request.query, safe=printable)
    cookies = _cookies_of(request)
    parameters = _joined(parse_qsl(raw_query, keep_blank_values=True))
    return {
        "version": "2.0",
        "routeKey": ROUTE,
        "rawPath": request.path,
        "rawQueryString": raw_query,
        **({"cookies": cookies} if cookies else {}),
        "headers": _headers_of(request),
        **({"queryStringParameters": parameters} if parameters else {}),
        "requestContext": _context_of(request),
        **_body_of(request),
    }


def is_text(content_type: str) -> bool:
    """Tell whether a body of this type goes into the event as it is."""
    return _TEXT_TYPE.fullmatch(content_type.partition(";")[0].strip().lower()) is not None


def _headers_of(request: HttpRequest) -> dict[str, str]:
    headers = _joined(
        (_text(name), _text(value))
        for name, value in request.headers
        if _text(name) not in _NOT_PASSED_ON
    )
    forwarded_for = headers.get("x-forwarded-for")
    client = request.client_address
    headers["x-forwarded-for"] = f"{forwarded_for}, {client}" if forwarded_for else client
    headers["x-forwarded-port"] = str(request.server_port)
    headers["x-forwarded-proto"] = request.scheme
    if request.body:
        # A body in chunks has come without.
        headers["content-length"] = str(len(request.body))
    return headers


def _cookies_of(request: HttpRequest) -> list[str]:
    return [
        cookie.strip()
        for name, value in request.headers
        if name == b"cookie"
        for cookie in _text(value).split(";")
        if cookie.strip()
    ]


def _context_of(request: HttpRequest) -> dict[str, Any]:
    host = _find_header(request, b"host")
    return {
        "accountId": ACCOUNT_ID,
        "apiId": API_ID,
        "domainName": host,
        "domainPrefix": host.partition(":")[0].partition(".")[0],
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": f"HTTP/{request.http_version}",
            "sourceIp": request.client_address,
            "userAgent": _find_header(request, b"user-agent"),
        },
        "requestId": request.id,
        "routeKey": ROUTE,
        "stage": "$default",
        "time": request.received_at.strftime("%d/%b/%Y:%H:%M:%S %z"),
        "timeEpoch": int(request.received_at.timestamp() * 1000),
    }


def _body_of(request: HttpRequest) -> dict[str, Any]:
    if not request.body:
        return {"isBase64Encoded": False}
    if is_text(_find_header(request, b"content-type")):
        try:
            return {"body": request.body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _find_header(request: HttpRequest, wanted: bytes) -> str:
    return next((_text(value) for name, value in request.headers if name == wanted), "")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
