"""Celery and kombu as locked survive what 5.7.0 of both does not: Redis restarts under a job."""

from collections.abc import Iterator

import pytest

from tests.support.runtime import Runtime
from tests.support.story import outcomes

NEXT_JOB_SECONDS = 10.0


@pytest.fixture
def celery_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A Celery worker with servers of its own."""
    runtime = Runtime("celery", tmp_path_factory.mktemp("celery"))
    yield runtime
    runtime.close()


def test_celery_worker_outlives_a_restart_of_redis_under_a_running_job(
    celery_runtime: Runtime,
) -> None:
    """The job completes once, and the same main process takes the next one within 10 s."""
    runtime = celery_runtime
    main_pid = runtime.process.pid
    job = runtime.submit("a red mug [[slow:1]]")
    runtime.wait_for_step(job, 30)
    runtime.redis.kill()
    runtime.redis.start()
    rows = runtime.finish(job)
    assert outcomes(rows) == ["completed"]
    assert runtime.provider_calls(job) == 1
    following = runtime.submit("a blue mug")
    assert outcomes(runtime.finish(following, within=NEXT_JOB_SECONDS)) == ["completed"]
    assert runtime.process.is_running
    assert runtime.process.pid == main_pid
