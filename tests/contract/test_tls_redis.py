"""Redis behind TLS, with a user of its own that may do no more than the guide says."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.faults import other_api, other_settings
from tests.support.runtime import Runtime
from tests.support.story import PLAIN, outcomes
from tests.support.tls_proxy import TlsProxy

GUIDE = Path(__file__).parents[2] / "docs/operations.md"


RULE = re.compile(r"^ACL SETUSER darkroom on '>(?P<password>[^']+)' (?P<rules>.+)$", re.MULTILINE)


@pytest.fixture
def proxy(runtime: Runtime, tmp_path: Path) -> Iterator[TlsProxy]:
    """Give TLS in front of the runtime's Redis."""
    socket = Path(runtime.redis.url.removeprefix("unix://"))
    with TlsProxy(socket, tmp_path) as proxy:
        yield proxy


@pytest.fixture
def tls_url(runtime: Runtime, proxy: TlsProxy) -> str:
    """Give the address of the runtime's Redis behind TLS, with the user of the guide."""
    password = make_user(runtime)
    address = f"localhost:{proxy.port}/0?ssl_ca_certs={proxy.ca_file}"
    return f"rediss://darkroom:{password}@{address}"


def make_user(runtime: Runtime) -> str:
    """Make the user that the guide describes, and return its password."""
    found = RULE.search(GUIDE.read_text())
    assert found is not None
    words = ("reset", "on", f">{found['password']}", *found["rules"].split())
    runtime.redis_client.execute_command(  # type: ignore[no-untyped-call] # redis-py
        "ACL", "SETUSER", "darkroom", *words
    )
    return found["password"]


def test_jobs_run_over_tls_from_the_first_sweep_on(runtime: Runtime, tls_url: str) -> None:
    """Those that were due at the start, those that the sweep finds later, those that are sent."""
    early = runtime.accept("a red mug")
    with other_settings(runtime, REDIS_URL=tls_url):
        assert outcomes(runtime.finish(early)) == ["completed"]
        late = runtime.accept("a blue mug")
        sent = runtime.submit("a green mug")
        for job in (late, sent):
            assert outcomes(runtime.finish(job)) == ["completed"]
            assert runtime.steps(job) == PLAIN


def test_clients_follow_over_tls_to_the_end(runtime: Runtime, tls_url: str) -> None:
    """The API submits, follows and cancels; Celery's own commands are allowed, too."""
    settings = {"REDIS_URL": tls_url}
    with other_settings(runtime, **settings), other_api(runtime, settings) as api:
        job = api.submit("a red mug")
        received = api.follow(job["urls"]["events"])
        assert [event.step["message"] for event in received] == [step.message for step in PLAIN]
        stopped = api.submit("a blue mug [[slow:5]]")
        api.client.post(f"/v1/generations/{stopped['id']}/cancel").raise_for_status()
        assert api.finish(stopped)["error"]["code"] == "cancelled"


def test_options_that_celery_and_redis_py_spell_differently_are_taken(
    runtime: Runtime, tls_url: str
) -> None:
    """By the broker, the result records and the events; no certificate is checked here."""
    address = tls_url.partition("/0?")[0]
    url = f"{address}?db=0&ssl_cert_reqs=CERT_NONE&socket_timeout=30&max_connections=1"
    settings = {"REDIS_URL": url}
    with other_settings(runtime, **settings), other_api(runtime, settings) as api:
        job = api.submit("a red mug")
        received = api.follow(job["urls"]["events"])
        assert [event.step["message"] for event in received] == [step.message for step in PLAIN]


def test_a_restart_of_redis_behind_tls_is_survived(runtime: Runtime, tls_url: str) -> None:
    """Every connection is lost at once; jobs go on when it is back."""
    with other_settings(runtime, REDIS_URL=tls_url):
        first = runtime.submit("a red mug")
        runtime.finish(first)
        runtime.redis.kill()
        runtime.redis.start()
        make_user(runtime)
        second = runtime.submit("a blue mug")
        assert outcomes(runtime.finish(second)) == ["completed"]


def test_connections_that_fall_silent_hold_up_no_job_for_long(
    runtime: Runtime, tls_url: str, proxy: TlsProxy
) -> None:
    """Half-open, as behind a firewall that has forgotten them: nothing comes, and no end."""
    settings = {"REDIS_URL": tls_url}
    with other_settings(runtime, **settings), other_api(runtime, settings) as api:
        runtime.finish(runtime.submit("a green mug"))
        with ThreadPoolExecutor() as threads:
            job = api.submit("a red mug [[slow:1]]")
            following = threads.submit(api.follow, job["urls"]["events"])
            runtime.wait_for_step(runtime.services.get(UUID(job["id"])), 30)
            proxy.silence()
            others = [runtime.submit("a blue mug") for _ in range(2)]
            received = following.result()
        assert received[-1].step["message"] == api.finish(job)["message"]
        for other in others:
            assert outcomes(runtime.finish(other))[-1] == "completed"
