"""`python -m devkit.lambda_host.gateway` as a whole: HTTP in front of AWS's own runtime."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.gateway import (
    ENVIRONMENT,
    SERVE_HTTP,
    WEB_APP,
    Gateway,
    command,
    start_gateway,
    uvicorn_server,
)
from tests.support.lambda_host import FUNCTIONS, PATIENCE_SECONDS, is_alive
from tests.support.wait import wait_until

SERVER_ERROR = (500, {"message": "Internal Server Error"})
UNAVAILABLE = (503, {"message": "Service Unavailable"})
TOO_LARGE = (413, {"message": "Request Entity Too Large"})
MEGABYTE = 1_000_000

StartGateway = Callable[..., Gateway]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway for all tests that leave it as it was."""
    gateway = start_gateway()
    yield gateway
    gateway.kill()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of that gateway."""
    with gateway.client() as client:
        yield client


@pytest.fixture
def start() -> Iterator[StartGateway]:
    """Start gateways of the test's own, which are killed after it."""
    gateways: list[Gateway] = []

    def start(*arguments: str, handler: str = SERVE_HTTP) -> Gateway:
        gateways.append(start_gateway(*arguments, handler=handler))
        return gateways[-1]

    yield start
    for gateway in gateways:
        gateway.kill()


@pytest.fixture(scope="module")
def twins() -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """One application behind the gateway and under uvicorn."""
    gateway = start_gateway(handler=f"{WEB_APP}.handler")
    try:
        with gateway.client() as one, uvicorn_server(f"{WEB_APP}:app") as other:
            yield one, other
    finally:
        gateway.kill()


def obey(client: httpx.Client, do: str, **arguments: Any) -> httpx.Response:
    """Have the function do what is said."""
    return client.post("/obey", json={"do": do, **arguments})


def content_of(response: httpx.Response) -> tuple[int, Any]:
    """Return the status and the JSON body."""
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()


def send_raw(gateway: Gateway, request: bytes) -> socket.socket:
    """Send bytes on a connection of their own, which stays open."""
    address = urlsplit(gateway.address)
    connection = socket.create_connection((address.hostname, address.port), PATIENCE_SECONDS)
    connection.sendall(request)
    return connection


def is_running(folder: Path) -> Callable[[], list[Path]]:
    """Return a question for whether a held function runs."""
    return lambda: list(folder.glob("running-*"))


def test_a_request_reaches_the_function_as_an_event(client: httpx.Client) -> None:
    """With the client's own address, and without what is not there."""
    answer = client.get("/a%2Fb%20c?x=1&x=%20", headers={"Cookie": "a=1; b=2"}).json()
    http_event = answer["event"]
    assert http_event["rawPath"] == "/a/b c"
    assert http_event["rawQueryString"] == "x=1&x=%20"
    assert http_event["queryStringParameters"] == {"x": "1, "}
    assert http_event["cookies"] == ["a=1", "b=2"]
    assert http_event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert "body" not in http_event


@pytest.mark.parametrize(
    "path",
    [
        "/reflect/a%2Fb%20c/%C3%BC+d",
        "/reflect/q?a=1&a=2&b=x%20y+z&c=%2F%26&d=&%C3%BC=%F0%9F%8E%A8",
        "/reflect/",
        "/missing",
        "/binary",
        "/cookies",
        "/nothing",
    ],
)
def test_an_application_answers_as_under_uvicorn(
    twins: tuple[httpx.Client, httpx.Client], path: str
) -> None:
    """Path, query, headers, cookies and bytes arrive the same in both directions."""
    headers = {b"Cookie": b"a=1; b=2", b"X-Some": "grün".encode()}
    answers = [twin.get(path, headers=headers) for twin in twins]
    _assert_alike(*answers)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b'{"a": "\xc3\xbc"}', "application/json"),
        (b"a=1&b=%20", "application/x-www-form-urlencoded"),
        (bytes(range(256)), "image/png"),
        (b"\xff\xfe", "text/plain"),
        (b"", "text/plain"),
    ],
)
def test_a_body_arrives_as_under_uvicorn(
    twins: tuple[httpx.Client, httpx.Client], method: str, content: bytes, content_type: str
) -> None:
    """Text or not, every byte."""
    headers = {"Content-Type": content_type}
    answers = [
        twin.request(method, "/reflect/x", content=content, headers=headers) for twin in twins
    ]
    _assert_alike(*answers)


def test_head_is_answered_as_under_uvicorn(twins: tuple[httpx.Client, httpx.Client]) -> None:
    """With the length of the body and without the body."""
    answers = [twin.head("/binary") for twin in twins]
    _assert_alike(*answers)
    assert answers[0].headers["content-length"] == "256"


def test_a_body_in_chunks_arrives_whole(client: httpx.Client) -> None:
    """The event has its length."""
    chunks = iter([b"ab", b"cd"])
    answer = client.post("/x", content=chunks, headers={"Content-Type": "text/plain"}).json()
    assert answer["event"]["body"] == "abcd"
    assert answer["event"]["headers"]["content-length"] == "4"


@pytest.mark.parametrize(
    ("do", "arguments"),
    [
        ("raise", {}),
        ("exit", {}),
        ("answer", {"answer": {"statusCode": "many"}}),
        ("describe", {"answer_bytes": 7 * 1024 * 1024}),
    ],
)
def test_a_function_that_fails_is_a_server_error(
    client: httpx.Client, do: str, arguments: dict[str, Any]
) -> None:
    """Raised, crashed, nonsense or too large; the next request is served as always."""
    assert content_of(obey(client, do, **arguments)) == SERVER_ERROR
    assert client.get("/").status_code == 200


def test_a_function_that_takes_too_long_is_unavailable(start: StartGateway, tmp_path: Path) -> None:
    """Its process is killed, and the next request gets a new one."""
    with start("--timeout-seconds", "0.3").client() as client:
        assert content_of(obey(client, "hold", folder=str(tmp_path))) == UNAVAILABLE
        assert client.get("/").status_code == 200


def test_requests_above_the_concurrency_are_throttled(start: StartGateway, tmp_path: Path) -> None:
    """They wait for a second; a sandbox that comes free is used again."""
    gateway = start("--concurrency", "1")
    with gateway.client() as client, ThreadPoolExecutor(1) as threads:
        held = threads.submit(obey, client, "hold", folder=str(tmp_path))
        wait_until(is_running(tmp_path), PATIENCE_SECONDS, "the function does not run")
        assert content_of(client.get("/")) == UNAVAILABLE
        (tmp_path / "go-on").touch()
        assert content_of(held.result()) == (200, None)
        assert client.get("/").status_code == 200


def test_requests_wait_for_a_sandbox_that_starts(start: StartGateway, tmp_path: Path) -> None:
    """Where several start at once it takes longer than a busy one is waited for."""
    gateway = start("--concurrency", "2", handler="tests.support.slow_functions.serve_http")
    with gateway.client() as client, ThreadPoolExecutor(3) as threads:
        held = threads.submit(obey, client, "hold", folder=str(tmp_path))
        wait_until(is_running(tmp_path), PATIENCE_SECONDS, "the function does not run")
        others = [threads.submit(client.get, "/") for _ in range(2)]
        assert [other.result().status_code for other in others] == [200, 200]
        (tmp_path / "go-on").touch()
        assert content_of(held.result()) == (200, None)


def test_two_requests_at_once_run_in_two_processes(start: StartGateway, tmp_path: Path) -> None:
    """One after the other they run in one, which was ready before the first."""
    gateway = start()
    assert len(gateway.sandbox_pids()) == 1
    with gateway.client() as client, ThreadPoolExecutor(1) as threads:
        assert len({client.get("/").json()["pid"] for _ in range(3)}) == 1
        held = threads.submit(obey, client, "hold", folder=str(tmp_path))
        wait_until(is_running(tmp_path), PATIENCE_SECONDS, "the function does not run")
        assert client.get("/").status_code == 200
        assert len(gateway.sandbox_pids()) == 2
        (tmp_path / "go-on").touch()
        held.result()


def test_a_large_body_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    """Its announced length is enough."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000001\r\n\r\n"
    with send_raw(gateway, head) as connection:
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")


def test_a_large_body_of_unknown_length_is_refused(client: httpx.Client) -> None:
    """As soon as it is above the limit."""
    chunks = (bytes(MEGABYTE) for _ in range(11))
    assert content_of(client.post("/", content=chunks)) == TOO_LARGE


def test_a_body_above_the_limit_of_lambda_is_refused(client: httpx.Client) -> None:
    """The gateway takes 10 MB, a function 6 MiB of event, and base64 needs a third more."""
    assert content_of(client.post("/", content=bytes(5 * MEGABYTE))) == TOO_LARGE
    assert client.post("/obey", json={"do": "answer", "answer": "x" * MEGABYTE}).is_success


def test_a_client_that_leaves_does_not_stop_the_function(gateway: Gateway, tmp_path: Path) -> None:
    """It runs to its end, as on AWS."""
    body = f'{{"do": "hold", "folder": "{tmp_path}"}}'.encode()
    head = b"POST /obey HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    with send_raw(gateway, request):
        wait_until(is_running(tmp_path), PATIENCE_SECONDS, "the function does not run")
    with gateway.client() as client:
        assert client.get("/").status_code == 200
    (tmp_path / "go-on").touch()
    wait_until(lambda: list(tmp_path.glob("done-*")), PATIENCE_SECONDS, "it was cut off")


def test_a_function_that_cannot_be_loaded_is_a_server_error(start: StartGateway) -> None:
    """The gateway says why, and serves all the same."""
    gateway = start(handler=f"{FUNCTIONS}.missing")
    assert gateway.says("function init failed")
    assert gateway.says("Runtime.HandlerNotFound")
    with gateway.client() as client:
        assert content_of(client.get("/")) == SERVER_ERROR


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_gateway_lets_a_request_end(
    start: StartGateway, tmp_path: Path, number: signal.Signals
) -> None:
    """The client gets its answer, and nothing is left behind."""
    gateway = start()
    with gateway.client() as client, ThreadPoolExecutor(1) as threads:
        held = threads.submit(obey, client, "hold", folder=str(tmp_path))
        wait_until(is_running(tmp_path), PATIENCE_SECONDS, "the function does not run")
        gateway.process.send_signal(number)
        wait_until(lambda: gateway.says("api stopping"), PATIENCE_SECONDS, "it ignores the signal")
        (tmp_path / "go-on").touch()
        assert content_of(held.result()) == (200, None)
    assert gateway.process.wait(PATIENCE_SECONDS) == 0
    assert not gateway.sandbox_pids()


def test_a_stopping_gateway_does_not_wait_for_long(start: StartGateway, tmp_path: Path) -> None:
    """After two seconds the function is killed, and its client gets an error."""
    gateway = start()
    with gateway.client() as client, ThreadPoolExecutor(1) as threads:
        held = threads.submit(obey, client, "hold", folder=str(tmp_path))
        wait_until(is_running(tmp_path), PATIENCE_SECONDS, "the function does not run")
        assert gateway.stop(signal.SIGTERM) == 0
        assert content_of(held.result()) == SERVER_ERROR
    assert not gateway.sandbox_pids()
    assert not gateway.says("Traceback")


def test_a_killed_gateway_leaves_no_process_behind(start: StartGateway, tmp_path: Path) -> None:
    """Neither a running function nor a frozen one outlives it."""
    gateway = start()
    with gateway.client() as client, ThreadPoolExecutor(1) as threads:
        held = threads.submit(obey, client, "hold", folder=str(tmp_path))
        wait_until(is_running(tmp_path), PATIENCE_SECONDS, "the function does not run")
        assert client.get("/").status_code == 200
        pids = gateway.sandbox_pids()
        assert len(pids) == 2
        gateway.stop(signal.SIGKILL)
        wait_until(
            lambda: not any(is_alive(pid) for pid in pids), PATIENCE_SECONDS, "a process is left"
        )
        assert isinstance(held.exception(), httpx.TransportError)


def test_a_port_in_use_is_reported_in_one_line(gateway: Gateway) -> None:
    """Exit code 1, and no traceback."""
    address = urlsplit(gateway.address)
    ended = _run(["--port", str(address.port)], {**os.environ, **ENVIRONMENT})
    line = f"{address.netloc} is in use; API_PORT chooses another port\n"
    assert (ended.returncode, ended.stderr) == (1, line)


def test_a_gateway_without_a_queue_says_so_in_one_line() -> None:
    """Exit code 2, and the setting is named."""
    environment = {**os.environ, **ENVIRONMENT}
    del environment["QUEUE_URL"]
    ended = _run(["--port", "0"], environment)
    assert (ended.returncode, ended.stderr) == (2, "settings: QUEUE_URL is not set\n")


def test_a_function_knows_how_many_sandboxes_it_has(start: StartGateway) -> None:
    """One workspace may stream on half of them."""
    with start("--concurrency", "5").client() as client:
        assert obey(client, "describe").json()["api_concurrency"] == "5"


def _run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=environment, capture_output=True, text=True, check=False
    )


def _assert_alike(one: httpx.Response, other: httpx.Response) -> None:
    assert one.status_code == other.status_code
    assert one.content == other.content
    assert _headers_that_count(one) == _headers_that_count(other)


def _headers_that_count(response: httpx.Response) -> list[tuple[str, str]]:
    ignored = {"date", "server"}
    if not response.content and response.request.method != "HEAD":
        # Mangum gives a type even to what is not there.
        ignored.add("content-type")
    return sorted(header for header in response.headers.multi_items() if header[0] not in ignored)
