"""The local API Gateway: what becomes of a request, and of a function's result."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from devkit.lambda_host.http_payload import http_event_of, http_response_of, is_text

RECEIVED_AT = datetime(2026, 3, 12, 19, 3, 58, 390000, tzinfo=UTC)
HEADERS = ((b"host", b"api.example.org:8000"), (b"user-agent", b"curl/8"))


def event_of(
    *headers: tuple[bytes, bytes], method: str = "GET", query: bytes = b"", body: bytes = b""
) -> dict[str, Any]:
    """Return the event of a request with these headers besides the usual ones."""
    request = Request(
        {
            "type": "http",
            "method": method,
            "path": "/",
            "query_string": query,
            "headers": [*HEADERS, *headers],
            "http_version": "1.1",
            "scheme": "http",
            "client": ("203.0.113.7", 40_000),
            "server": ("10.0.0.1", 8000),
        }
    )
    return http_event_of(request, body, "4d0a", RECEIVED_AT)


def event_with_body(body: bytes, content_type: bytes) -> dict[str, Any]:
    """Return the event of a request with this body."""
    return event_of((b"content-type", content_type), method="POST", body=body)


def respond(result: object, method: str = "GET") -> Response:
    """Return the response to a function's result."""
    return http_response_of(json.dumps(result).encode(), method)


def test_the_plainest_request_has_no_optional_part() -> None:
    """All else is there, the time in the common log format."""
    assert event_of() == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "host": "api.example.org:8000",
            "user-agent": "curl/8",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "8000",
            "x-forwarded-proto": "http",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "api.example.org:8000",
            "domainPrefix": "api",
            "http": {
                "method": "GET",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8",
            },
            "requestId": "4d0a",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1773342238390,
        },
        "isBase64Encoded": False,
    }


def test_a_query_is_passed_on_as_sent_and_decoded() -> None:
    """Repeated parameters are joined with a comma, empty ones are kept."""
    http_event = event_of(query=b"a=1&b=x%20y+z&a=%C3%BC&c=")
    assert http_event["rawQueryString"] == "a=1&b=x%20y+z&a=%C3%BC&c="
    assert http_event["queryStringParameters"] == {"a": "1,ü", "b": "x y z", "c": ""}


def test_raw_bytes_of_a_query_are_encoded() -> None:
    """JSON has no bytes, and the application decodes both alike."""
    assert event_of(query=b"a=\xff")["rawQueryString"] == "a=%FF"


def test_cookies_are_a_list_and_no_header() -> None:
    """Those of several headers stand in one list."""
    http_event = event_of((b"cookie", b"a=1; b=2"), (b"cookie", b"c=3"))
    assert http_event["cookies"] == ["a=1", "b=2", "c=3"]
    assert "cookie" not in http_event["headers"]


def test_repeated_headers_are_joined() -> None:
    """With a comma, in their order."""
    http_event = event_of((b"accept", b"text/html"), (b"accept", b"*/*"))
    assert http_event["headers"]["accept"] == "text/html,*/*"


def test_headers_of_the_connection_stay_behind() -> None:
    """The function's connection is another one."""
    http_event = event_of((b"connection", b"close"), (b"transfer-encoding", b"chunked"))
    assert not {"connection", "transfer-encoding"} & http_event["headers"].keys()


def test_a_client_cannot_pretend_to_be_another() -> None:
    """Its own X-Forwarded-For is kept, before its true address; the rest is overwritten."""
    http_event = event_of((b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-port", b"1"))
    assert http_event["headers"]["x-forwarded-for"] == "10.0.0.1, 203.0.113.7"
    assert http_event["headers"]["x-forwarded-port"] == "8000"
    assert http_event["requestContext"]["http"]["sourceIp"] == "203.0.113.7"


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain; charset=utf-8", True),
        ("application/json", True),
        ("Application/JSON", True),
        ("application/problem+json", True),
        ("image/svg+xml", False),
        ("application/atom+xml", True),
        ("application/xml", True),
        ("application/javascript", True),
        ("application/jsonlines", False),
        ("application/x-www-form-urlencoded", False),
        ("image/png", False),
        ("", False),
    ],
)
def test_text_is_known_by_its_type(content_type: str, expected: bool) -> None:
    """Everything else goes as base64."""
    assert is_text(content_type) is expected


def test_text_goes_into_the_event_as_it_is() -> None:
    """A body in chunks gets a length, since the function sees it whole."""
    http_event = event_with_body("grün".encode(), b"application/json")
    assert (http_event["body"], http_event["isBase64Encoded"]) == ("grün", False)
    assert http_event["headers"]["content-length"] == "5"


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"\xff\x00", b"text/plain"), (b"abc", b"image/png")]
)
def test_other_bodies_are_base64(body: bytes, content_type: bytes) -> None:
    """So is text that is no UTF-8."""
    http_event = event_with_body(body, content_type)
    assert http_event["isBase64Encoded"] is True
    assert base64.b64decode(http_event["body"]) == body


def test_a_described_response_is_followed() -> None:
    """Header names in lower case, each cookie a header of its own."""
    response = respond(
        {
            "statusCode": 201,
            "headers": {"Content-Type": "image/png", "X-Count": 3, "x-many": ["a", "b"]},
            "cookies": ["a=1", "b=2; HttpOnly"],
            "body": base64.b64encode(b"\xff").decode(),
            "isBase64Encoded": True,
        }
    )
    assert response.status_code == 201
    assert response.body == b"\xff"
    assert response.raw_headers == [
        (b"content-type", b"image/png"),
        (b"x-count", b"3"),
        (b"x-many", b"a"),
        (b"x-many", b"b"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2; HttpOnly"),
        (b"content-length", b"1"),
    ]


@pytest.mark.parametrize(
    ("result", "body"),
    [({"a": 1}, b'{"a": 1}'), ("plain", b"plain"), ([1], b"[1]"), (None, b"null")],
)
def test_a_result_without_status_is_the_body(result: object, body: bytes) -> None:
    """It is taken for JSON, and for a success."""
    response = respond(result)
    assert (response.status_code, response.body) == (200, body)
    assert response.headers["content-type"] == "application/json"


def test_a_body_without_a_type_is_text() -> None:
    """And nothing is said about no body."""
    with_body = respond({"statusCode": "200", "body": "a"})
    assert with_body.headers["content-type"] == "text/plain;charset=utf-8"
    assert respond({"statusCode": 200}).raw_headers == [(b"content-length", b"0")]


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "much"},
        {"statusCode": 99},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "no base64!", "isBase64Encoded": True},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a": "b\r\nc: d"}},
        {"statusCode": 200, "headers": {"a b": "c"}},
        {"statusCode": 200, "cookies": "a=1"},
    ],
)
def test_a_malformed_response_is_refused(result: object) -> None:
    """The client gets an error of the gateway and never half of it."""
    with pytest.raises(ValueError, match=r".+"):
        respond(result)


def test_a_payload_that_is_no_json_is_refused() -> None:
    """A runtime of one's own may send anything."""
    with pytest.raises(ValueError, match="Expecting value"):
        http_response_of(b"nonsense", "GET")


def test_the_length_sent_is_that_of_the_body() -> None:
    """Whatever the function says."""
    response = respond({"statusCode": 200, "headers": {"Content-Length": "99"}, "body": "abc"})
    assert response.headers.getlist("content-length") == ["3"]


def test_head_gets_the_length_of_what_get_would_get() -> None:
    """Of the body that the function gave, or else as it says itself."""
    assert respond({"statusCode": 200, "body": "abc"}, "HEAD").headers["content-length"] == "3"
    without_body = {"statusCode": 200, "headers": {"content-length": "99"}}
    assert respond(without_body, "HEAD").raw_headers == [(b"content-length", b"99")]


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    """And no length of one."""
    described = {"statusCode": status, "headers": {"Content-Length": "3"}, "body": "abc"}
    response = respond(described)
    assert response.body == b""
    assert response.raw_headers == [(b"content-type", b"text/plain;charset=utf-8")]
