"""Housekeeping runs beside recovery: however slow it is, no lost job waits for it."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest

from shared.status import waiting
from tests.support.faults import claim_on_lost_machine, paused_provider
from tests.support.runtime import Runtime
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def silent_server() -> Iterator[socket.socket]:
    """Give a server that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=500)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def own_settings(silent_server: socket.socket) -> Mapping[str, str]:
    """Have images kept in a bucket there, for a month."""
    host, port = silent_server.getsockname()
    return {
        "RETENTION_DAYS": "30",
        "IMAGE_BUCKET": "images",
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_bucket_that_hangs_delays_no_recovery(
    own_runtime: Runtime, silent_server: socket.socket
) -> None:
    """While a thousand outdated jobs are to be deleted from it, the sweep keeps its period."""
    runtime = own_runtime
    with runtime.database() as cursor:
        cursor.execute(
            "INSERT INTO generation_jobs (workspace_id, params, status, error, finished_at,"
            " announced_at) SELECT 'default', '{}', 'FAILED', '{}', old, old"
            " FROM generate_series(1, 1000), (SELECT now() - interval '31 days' AS old) time"
        )

    def is_asked() -> bool:
        try:
            silent_server.accept()[0].detach()
        except BlockingIOError:
            return False
        return True

    wait_until(is_asked, 20, "the bucket to be asked")
    for _ in range(3):
        lost = runtime.accept("a blue mug")
        claim_on_lost_machine(runtime, lost)
        # Another attempt would look for saved images.
        with paused_provider(runtime):
            wait_until(lambda lost=lost: waiting(2, 3) in runtime.steps(lost), 4, "a sweep")  # type: ignore[misc]
            runtime.services.cancel(lost.id)
            runtime.finish(lost)
    with runtime.database() as cursor:
        cursor.execute("DELETE FROM generation_jobs WHERE params = '{}'")
