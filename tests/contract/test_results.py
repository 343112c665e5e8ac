"""What programs that know only Celery see of a job: `AsyncResult`, read and waited for."""

from collections.abc import Iterator

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError

from shared.errors import JobFailed
from tests.support.clients import CeleryClients
from tests.support.runtime import Runtime
from tests.support.wait import wait_until


@pytest.fixture
def clients(runtime: Runtime) -> Iterator[CeleryClients]:
    """Give two Celery programs that read the results of this runtime's jobs."""
    clients = CeleryClients(runtime.settings)
    yield clients
    clients.close()


def test_async_result_follows_a_job_through_all_its_states(
    runtime: Runtime, clients: CeleryClients
) -> None:
    """PENDING, PROCESSING with the step as meta, also before a second attempt, then SUCCESS."""
    with runtime.paused():
        job = runtime.submit("a mug [[slow:1]] [[rate-limit:1.5]]")
        assert [result.state for result in clients.results(job)] == ["PENDING", "PENDING"]
        assert runtime.record(job) is None
    runtime.wait_for_step(job, 30)
    for state, meta in [(result.state, result.info) for result in clients.results(job)]:
        assert state == "PROCESSING"
        assert meta in [step.as_dict() for step in runtime.steps(job)]
    retrying = {"status": "pending", "progress": 0, "message": "Retrying (attempt 2 of 3)"}
    wait_until(lambda: runtime.steps(job)[-1].as_dict() == retrying, 20, "the job to wait")
    for result in clients.results(job):
        assert (result.state, result.info) == ("PROCESSING", retrying)
    urls = [image["url"] for image in runtime.finish(job).images]
    for result in clients.results(job):
        assert (result.state, result.info) == ("SUCCESS", {"job_id": str(job.id), "images": urls})


def test_async_result_waits_in_the_client_until_the_job_is_done(
    runtime: Runtime, clients: CeleryClients
) -> None:
    """`get` gives up after its timeout while the job runs, and returns the result at its end."""
    job = runtime.submit("two mugs [[slow:1.5]]", n=2)
    runtime.wait_for_step(job, 10)
    own, plain = clients.results(job)
    with pytest.raises(CeleryTimeoutError):
        own.get(timeout=0.2)
    assert own.get(timeout=30) == plain.get(timeout=30)
    assert own.get()["images"] == [image["url"] for image in runtime.finish(job).images]


def test_async_result_of_a_failed_job_raises_its_reason(
    runtime: Runtime, clients: CeleryClients
) -> None:
    """`get` raises JobFailed with the code and message of the row's error."""
    job = runtime.submit("a mug [[reject]]")
    for result in clients.results(job):
        with pytest.raises(JobFailed) as caught:
            result.get(timeout=30)
        assert result.state == "FAILURE"
        error = runtime.rows(job).job["error"]
        assert caught.value.args == (error["code"], error["message"])
        assert error["code"] == "prompt_rejected"
