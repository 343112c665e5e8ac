"""PostgreSQL behind TLS, whose certificate is checked against a CA file and the host's name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import other_api, other_settings
from tests.support.postgres_proxy import SOCKET_NAME
from tests.support.runtime import Runtime
from tests.support.story import PLAIN, outcomes
from tests.support.tls_proxy import TlsProxy, make_certificates, verified_url
from tests.support.wait import wait_until


@pytest.fixture
def proxy(runtime: Runtime, tmp_path: Path) -> Iterator[TlsProxy]:
    """Give the runtime's PostgreSQL behind TLS."""
    socket = runtime.postgres.folder / SOCKET_NAME
    with TlsProxy(socket, tmp_path / "server", is_asked_first=True) as proxy:
        yield proxy


def test_jobs_run_over_a_verified_connection(runtime: Runtime, proxy: TlsProxy) -> None:
    """Of the runtime and of its API."""
    settings = {"DATABASE_URL": verified_url(runtime.postgres.url, proxy, proxy.ca_file)}
    with other_settings(runtime, **settings), other_api(runtime, settings) as api:
        sent = runtime.submit("a red mug")
        assert outcomes(runtime.finish(sent)) == ["completed"]
        assert runtime.steps(sent) == PLAIN
        assert api.finish(api.submit("a blue mug"))["status"] == "completed"


def test_jobs_wait_while_the_certificate_is_of_another_ca(
    runtime: Runtime, proxy: TlsProxy, tmp_path: Path
) -> None:
    """The log says why, in one line; the job runs once the CA is the right one."""
    job = runtime.accept("a red mug")
    url = verified_url(runtime.postgres.url, proxy, make_certificates(tmp_path / "other")[0])
    with other_settings(runtime, DATABASE_URL=url):
        wait_until(
            lambda: "certificate verify failed" in str(runtime.log_lines()), 30, "the reason"
        )
        assert runtime.rows(job).attempts == []
    runtime.start()
    assert outcomes(runtime.finish(job)) == ["completed"]
