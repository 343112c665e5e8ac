"""What one connection may send to the web server, and how long it may take."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from local.web.bounded_http import HEADERS_MAX, PIPELINED_MAX, BoundedHttp
from tests.support.raw_http import (
    BIG_BYTES,
    WebApp,
    answer_to,
    connected,
    pause,
    read_to_end,
    web_server,
)
from tests.support.wait import wait_until

BIG = b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"Connection: close\r\n\r\n"
JUNK = b"y" * 200_000
NEXT = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Hasty(BoundedHttp):
    """The same, with less patience."""

    patience_seconds = 0.5


class Crowded(BoundedHttp):
    """The same, for few clients."""

    connections_max = 8


@pytest.fixture
def app() -> WebApp:
    """Give an application that notes which clients have left."""
    return WebApp()


@pytest.fixture
def url(app: WebApp) -> Iterator[str]:
    """Give the address of a server with the bounds of the product."""
    with web_server(app) as url:
        yield url


@pytest.fixture
def hasty_url(app: WebApp) -> Iterator[str]:
    """Give the address of a server that waits for half a second."""
    with web_server(app, protocol=Hasty) as url:
        yield url


def status_of(answer: bytes) -> int:
    """Return the status of the one answer."""
    assert answer.count(b"HTTP/1.1 ") == 1, answer[:200]
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((HEAD, b"x: ", JUNK), 431),
        ((HEAD, b"a:b\r\n" * 60_000), 431),
        ((HEAD, b"a:b\r\n" * HEADERS_MAX, CLOSE), 431),
        ((b"GET /", JUNK), 431),
        ((CHUNKED, b"2\r\n{}\r\n0\r\n", b"a:b\r\n" * 60_000), 400),
        ((CHUNKED, b"2\r\n{}\r\n0\r\nx: ", JUNK), 400),
        ((CHUNKED, b"2;", JUNK), 400),
        ((b"\x16\x03\x01 no HTTP\r\n\r\n",), 400),
    ],
    ids=["header", "headers", "count", "line", "trailers", "trailer", "extension", "no HTTP"],
)
def test_more_than_the_bounds_is_refused(url: str, parts: tuple[bytes, ...], status: int) -> None:
    """With the status that says why; the connection is closed."""
    assert status_of(answer_to(url, *parts)) == status


@pytest.mark.parametrize(
    ("parts", "size_bytes"),
    [
        ((HEAD, b"cookie: ", b"y" * 60_000, b"\r\n", CLOSE), 0),
        ((HEAD, b"a:b\r\n" * 90, CLOSE), 0),
        ((CHUNKED, b"1\r\nx\r\n" * 30_000, b"0\r\na: b\r\n\r\n", NEXT), 30_000),
        ((HEAD, b"Content-Length: 200000\r\n", CLOSE, JUNK), 200_000),
    ],
    ids=["cookie", "headers", "small chunks", "body"],
)
def test_requests_within_the_bounds_are_served(
    url: str, parts: tuple[bytes, ...], size_bytes: int
) -> None:
    """A body counts for none of them."""
    assert answer_to(url, *parts).startswith(b"HTTP/1.1 200 OK")
    assert b"<%d>" % size_bytes in answer_to(url, *parts)


def test_a_body_that_is_refused_ends_before_the_next_request(url: str) -> None:
    """Its answer comes early, and the next request has its own bounds and answer."""
    early = b"GET /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n"
    answer = answer_to(url, early, JUNK, HEAD, b"x: ", JUNK)
    assert [line.split()[1] for line in answer.splitlines() if line.startswith(b"HTTP/")] == [
        b"200",
        b"431",
    ]


def test_requests_are_answered_in_order_up_to_a_bound(url: str) -> None:
    """What was sent beyond it is not read, and the connection is closed."""
    many = b"".join(GET % number for number in range(100))
    assert answer_to(url, many).count(b"200 OK") == PIPELINED_MAX + 1
    few = b"".join(GET % number for number in range(PIPELINED_MAX)) + NEXT
    assert answer_to(url, few).count(b"200 OK") == PIPELINED_MAX + 1


def test_a_refusal_never_stands_in_for_an_earlier_answer(url: str) -> None:
    """A client would take it for the answer to its first request."""
    answer = answer_to(url, GET % 1 + b"no HTTP\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 200 OK")
    answer = answer_to(url, GET % 1 + CHUNKED + b"no chunk\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "part", [HEAD, CHUNKED, CHUNKED + b"2\r\n{}\r\n", b"G"], ids=["head", "body", "chunk", "byte"]
)
def test_a_request_that_stops_is_refused(hasty_url: str, app: WebApp, part: bytes) -> None:
    """Wherever it stops; the application learns that it ends."""
    assert status_of(answer_to(hasty_url, part)) == 408
    if part.startswith(CHUNKED):
        wait_until(lambda: app.ended == ["/"], 5, "the application to learn of it")


def test_a_connection_that_sends_no_request_is_closed(hasty_url: str) -> None:
    """Without an answer: there is no request."""
    assert answer_to(hasty_url) == b""
    assert status_of(answer_to(hasty_url, b"\r\n")) == 408


def test_a_head_has_one_deadline_however_it_comes(hasty_url: str) -> None:
    """Each byte in time is not enough."""
    with connected(hasty_url) as connection:
        connection.sendall(HEAD)
        for _ in range(20):
            connection.sendall(b"a")
            pause(0.1)
        assert read_to_end(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_may_take_its_time_while_it_grows(hasty_url: str) -> None:
    """Each part earns time for the next one."""
    with connected(hasty_url) as connection:
        connection.sendall(HEAD + b"Content-Length: 4096\r\n" + CLOSE)
        for _ in range(4):
            connection.sendall(b"y" * 1024)
            pause(0.6)
        assert b"<4096>" in read_to_end(connection)


def test_a_client_that_does_not_read_is_disconnected(hasty_url: str) -> None:
    """Its answer is not kept for ever."""
    with connected(hasty_url) as connection:
        connection.sendall(BIG)
        wait_until(lambda: is_reset(connection), 8, "the server to disconnect")


def test_a_client_that_reads_slowly_gets_all(hasty_url: str) -> None:
    """Each part that it takes gives it more time."""
    with connected(hasty_url) as connection:
        connection.sendall(BIG)
        received = 0
        for _ in range(12):
            pause(0.2)
            received += len(connection.recv(2**20))
        assert received + len(read_to_end(connection)) > BIG_BYTES


def test_a_client_that_leaves_ends_what_it_has_asked_for(url: str, app: WebApp) -> None:
    """Also where another request waits behind the one that is served."""
    with connected(url) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET % 1)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    wait_until(lambda: app.ended == ["/endless"], 5, "the application to learn of it")


@pytest.mark.parametrize("begun", [b"", HEAD, CHUNKED, GET % 1], ids=len)
def test_those_that_owe_a_request_make_room(app: WebApp, begun: bytes) -> None:
    """One by one; what comes last is served."""
    with web_server(app, protocol=Crowded) as url, ExitStack() as undo:
        connections = [undo.enter_context(connected(url)) for _ in range(Crowded.connections_max)]
        for connection in connections:
            connection.sendall(begun)
        if begun == GET % 1:
            for connection in connections:
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert answer_to(url, NEXT).startswith(b"HTTP/1.1 200")
        wait_until(lambda: any(map(is_closed, connections)), 5, "one of them to be closed")
        assert [is_closed(connection) for connection in connections].count(True) == 1


def test_those_that_have_sent_no_request_make_room_first(app: WebApp) -> None:
    """A client that keeps its connection for the next request loses it to none of them."""
    with web_server(app, protocol=Crowded) as url, ExitStack() as undo:
        kept = undo.enter_context(connected(url))
        kept.sendall(GET % 1)
        assert kept.recv(100).startswith(b"HTTP/1.1 200")
        for _ in range(3 * Crowded.connections_max):
            undo.enter_context(connected(url)).sendall(HEAD)
        kept.sendall(NEXT)
        assert b"HTTP/1.1 200" in read_to_end(kept)


def test_where_all_are_served_the_next_is_turned_away(app: WebApp) -> None:
    """With 503, at once; those that are served go on."""
    with web_server(app, protocol=Crowded) as url, ExitStack() as undo:
        for _ in range(Crowded.connections_max):
            connection = undo.enter_context(connected(url))
            connection.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        answer = answer_to(url, NEXT)
        assert status_of(answer) == 503
        assert b"\r\nretry-after: 2\r\n" in answer
        assert app.ended == []


def is_reset(connection: socket.socket) -> bool:
    """Return whether the other side has closed the connection for good."""
    try:
        connection.sendall(b"\r\n")
    except ConnectionError:
        return True
    return False


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side has closed the connection; sends nothing."""
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
