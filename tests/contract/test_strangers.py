"""Others on this machine: another user, and a page in a browser. They reach the API and no more."""

from collections.abc import Iterator

import httpx
import psutil

from tests.support.runtime import Runtime

RUNTIME_API = "/2018-06-01/runtime"
REQUESTS = [
    ("GET", f"{RUNTIME_API}/invocation/next"),
    ("POST", f"{RUNTIME_API}/invocation/1/response"),
    ("POST", f"{RUNTIME_API}/invocation/1/error"),
    ("POST", f"{RUNTIME_API}/init/error"),
    ("GET", f"/key{RUNTIME_API}/invocation/next"),
    ("GET", "/?Action=ListQueues"),
    ("GET", "/moto-api/data.json"),
    ("POST", "/moto-api/reset"),
    ("OPTIONS", "/"),
]
SIGNED = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request"
PAGE = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
KINDS = [{}, {"Authorization": SIGNED}, PAGE, {**PAGE, "Host": "evil.example"}]
"""Another user; one who guesses a key; a page; and one whose name now means this machine."""


def open_ports(runtime: Runtime) -> Iterator[int]:
    """Yield the ports of the runtime, its servers and its APIs, but for those of the APIs."""
    own = {httpx.URL(api.url).port for api in runtime.apis}
    servers = (runtime.process, runtime.queue_server, runtime.redis, runtime.postgres)
    for root in (*servers, *(api.process for api in runtime.apis)):
        process = psutil.Process(root.pid)
        for each in (process, *process.children(recursive=True)):
            for connection in each.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port not in own:
                    assert connection.laddr.ip == "127.0.0.1"
                    yield connection.laddr.port


def answer_to(port: int, method: str, path: str, headers: dict[str, str]) -> int:
    """Return the status of an answer; 0 from a server that does not speak HTTP."""
    try:
        url = f"http://127.0.0.1:{port}{path}"
        return httpx.request(method, url, headers=headers, content=b"{}", timeout=10).status_code
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return 0


def test_nothing_but_the_api_answers_strangers(runtime: Runtime) -> None:
    """They read no request, answer none, and lose no message; jobs go on."""
    api = runtime.api
    api.finish(api.submit("a mug"))
    for port in {*open_ports(runtime)}:
        for headers in KINDS:
            for method, path in REQUESTS:
                assert answer_to(port, method, path, headers) in (0, 403), (method, path, headers)
    assert api.finish(api.submit("a mug"))["status"] == "completed"
