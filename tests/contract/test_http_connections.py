"""What one connection can do to the API: nothing that others notice."""

from contextlib import suppress

import psutil
import pytest

from tests.support.api import Api
from tests.support.raw_http import answer_to, connected
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

HEAD = b"POST /v1/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

FLOOD = 400
"""Parts of 50 KB; without bounds, 20 MB of headers take some 250 MB."""

GROWTH_MAX_BYTES = 20 * 2**20


def memory_of(api: Api) -> int:
    """Return the resident memory of the process that has the connections."""
    return int(psutil.Process(api.process.pid).memory_info().rss)


@pytest.mark.parametrize(
    ("first", "part", "status"),
    [
        (HEAD, b"a:b\r\n" * 10_000, b"431"),
        (HEAD + b"x: ", b"y" * 50_000, b"431"),
        (b"GET /", b"y" * 50_000, b"431"),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a:b\r\n" * 10_000, b"400"),
        (b"", GET * 1_000, b"200"),
    ],
    ids=["headers", "header", "line", "trailers", "requests"],
)
def test_flood_on_one_connection_takes_no_memory(
    runtime: Runtime, first: bytes, part: bytes, status: bytes
) -> None:
    """It is refused at a bound, and the API answers others."""
    api = runtime.api
    api.client.get("/healthz")
    before = memory_of(api)
    answer = answer_to(api.url, first, *[part] * FLOOD)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert memory_of(api) - before < GROWTH_MAX_BYTES
    assert api.client.get("/healthz").status_code == 200


def test_client_that_leaves_within_its_body_is_no_fault(runtime: Runtime) -> None:
    """It leaves no error in the log: nothing is wrong here."""
    api = runtime.api
    logged = len(api.log.lines())
    kinds = [("generations", "application/json"), ("assets", "image/png")]
    for path, media_type in kinds * 3:
        with connected(api.url) as connection:
            head = (
                f"POST /v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
                f"Authorization: Bearer {api.keys['default']}\r\nContent-Length: 100\r\n\r\n{{"
            )
            connection.sendall(head.encode())
    with suppress(AssertionError):  # a gateway does not hand on the request
        wait_until(
            lambda: str(api.log.lines()[logged:]).count("/v1/") >= 6, 2, "the log to be written"
        )
    lines = api.log.lines()[logged:]
    assert [line for line in lines if line["level"] in ("error", "critical")] == []
