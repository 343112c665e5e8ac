"""What one client or workspace holds open: nothing that locks others out."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import psutil
import pytest

from shared.access.stream_slots import slots_key
from tests.support.api import OTHER_WORKSPACE, SMALL, Api, ApiWithFewFiles, http_get, http_post
from tests.support.raw_http import connected
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

STREAMS = 2
"""As many as a workspace of `open_api` may have."""

HEAD = b"POST /v1/generations HTTP/1.1\r\nHost: localhost\r\n"
BODY = HEAD + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
ORDER = {"prompt": "a mug", **SMALL}
AT_ONCE_SECONDS = 10.0
"""Far less than a wait, and far more than an answer takes on a busy machine."""


@contextmanager
def background() -> Iterator[ThreadPoolExecutor]:
    """Give threads for requests that take as long as their jobs do."""
    with ThreadPoolExecutor(2 * STREAMS) as threads:
        yield threads


def open_slots(runtime: Runtime) -> int:
    """Return how many streams are counted."""
    counted: Any = runtime.redis_client.zcard("open_streams:default")
    return int(counted)


def wait_for_slots(runtime: Runtime, count: int) -> None:
    """Wait until so many streams are counted."""
    wait_until(lambda: open_slots(runtime) == count, 20, f"{count} streams to be counted")


@contextmanager
def held_slots(runtime: Runtime, count: int) -> Iterator[None]:
    """Have as many streams open in other processes: however slow this one is, they last."""
    key, seconds = slots_key("default"), 600
    runtime.redis_client.zadd(key, {str(n): time.time() + seconds for n in range(count)})
    runtime.redis_client.expire(key, seconds)
    try:
        yield
    finally:
        runtime.redis_client.delete(key)


def events_of(api: Api, job: dict[str, Any]) -> str:
    """Return the address of a job's events, without its token."""
    return f"{api.url}{job['urls']['self']}/events"


def wait_for(threads: ThreadPoolExecutor, api: Api, job: dict[str, Any]) -> Future[httpx.Response]:
    """Begin to wait for the end of a job."""
    return threads.submit(http_get, api.url + job["urls"]["self"], headers={"Prefer": "wait=25"})


def test_waits_count_as_streams(runtime: Runtime) -> None:
    """A stream beyond the limit is to come again; the wait of a submission is not applied."""
    api = runtime.open_api
    api.warm(STREAMS + 1)
    with background() as threads, runtime.paused():
        jobs = [api.submit("a mug") for _ in range(STREAMS)]
        waits = [wait_for(threads, api, job) for job in jobs]
        wait_for_slots(runtime, STREAMS)
        refused = http_get(events_of(api, jobs[0]))
        assert refused.status_code == 200
        # Not all at once, and less often than after an outage.
        found = re.fullmatch(r"retry: ([0-9]+)\n\n", refused.text)
        assert found is not None, refused.text
        assert 7_500 <= int(found[1]) <= 22_500
        started_at = time.monotonic()
        more = http_post(f"{api.url}/v1/generations", json=ORDER, headers={"Prefer": "wait=25"})
        assert more.status_code == 202
        assert "preference-applied" not in more.headers
        assert time.monotonic() - started_at < AT_ONCE_SECONDS
        for job in (*jobs, more.json()):
            api.client.post(job["urls"]["cancel"])
        for wait in waits:
            assert wait.result().json()["status"] == "failed"
            assert wait.result().headers["preference-applied"] == "wait=25"
    wait_for_slots(runtime, 0)


def test_streams_leave_no_wait_to_openai_clients(runtime: Runtime) -> None:
    """Which are refused before a job is made; their SDKs try again."""
    api = runtime.open_api
    with held_slots(runtime, STREAMS):
        refused = http_post(f"{api.url}/v1/images/generations", json=ORDER)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert int(refused.headers["retry-after"]) > 0
        assert api.client.get("/v1/generations").json()["items"] == []
    assert http_post(f"{api.url}/v1/images/generations", json=ORDER).status_code == 200
    wait_for_slots(runtime, 0)


@pytest.mark.parametrize("begun", [b"", HEAD, BODY], ids=["nothing", "head", "body"])
def test_requests_that_never_end_leave_room_for_others(runtime: Runtime, begun: bytes) -> None:
    """More connections than the API may open files: the oldest make room."""
    with runtime.api_with_few_files() as api, ExitStack() as undo:
        for _ in range(ApiWithFewFiles.files + 50):
            undo.enter_context(connected(api.url)).sendall(begun)
        files = psutil.Process(api.process.pid).num_fds()
        assert files < ApiWithFewFiles.files
        started_at = time.monotonic()
        for _ in range(5):
            with api.client_of(OTHER_WORKSPACE) as client:
                assert client.get("/v1/generations").status_code == 200
        assert time.monotonic() - started_at < AT_ONCE_SECONDS


def test_the_more_streams_are_refused_the_later_they_come_again(runtime: Runtime) -> None:
    """Each costs a request; and again as usual once there are few."""
    job = runtime.open_api.submit("[[slow:1]] a mug")
    with held_slots(runtime, STREAMS):
        few = _retry_of(http_get(events_of(runtime.open_api, job)).text)
        runtime.redis_client.set(f"{slots_key('default')}:refused", 1_000, ex=60)
        many = _retry_of(http_get(events_of(runtime.open_api, job)).text)
        runtime.redis_client.delete(f"{slots_key('default')}:refused")
    assert 7.5 <= few <= 22.5
    assert 30 <= many <= 90
    runtime.services.cancel(runtime.services.get(job["id"]).id)


def _retry_of(text: str) -> float:
    found = re.fullmatch(r"retry: ([0-9]+)\n\n", text)
    assert found is not None, text
    return int(found[1]) / 1000
