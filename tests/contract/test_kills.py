"""kill -9 at every stage of a job: what is left, and what the next worker makes of it."""

from datetime import datetime

from shared.status import COMPLETED, JobStatus, waiting
from tests.support.faults import kill_process, warm_up
from tests.support.runtime import SLOTS, Runtime
from tests.support.story import (
    PLAIN,
    RUN,
    RUN_WITHOUT_PROVIDER,
    outcomes,
    storage_keys,
    stored_keys,
)
from tests.support.wait import wait_until

COLD_SWEEP_SECONDS = 15.0
"""For a loaded machine: how long the first sweep of a runtime that was just started may take."""


def test_worker_killed_before_its_claim_costs_the_job_no_attempt(runtime: Runtime) -> None:
    """The envelope dies with the process; the job runs all the same, as attempt 1."""
    job = runtime.accept("a red mug")
    with runtime.locked_row(job):
        runtime.dispatch(job)
        kill_process(runtime, runtime.pid_waiting_for_lock())
    rows = runtime.finish(job)
    assert outcomes(rows) == ["completed"]
    assert runtime.steps(job) == PLAIN


def test_job_of_a_worker_killed_in_the_provider_call_is_finished_by_the_next_one(
    runtime: Runtime,
) -> None:
    """Attempt 1 is lost, and the mock charges nothing; attempt 2 completes the job."""
    job = runtime.submit("a red mug [[crash:1]]")
    rows = runtime.finish(job)
    assert outcomes(rows) == ["lost", "completed"]
    assert [row["charge_state"] for row in rows.attempts] == ["none", "none"]
    assert rows.attempts[0]["error"]["code"] == "worker_lost"
    assert storage_keys(rows) == [f"{job.id}/2/0"]
    assert runtime.steps(job) == [*PLAIN[:5], waiting(2, 3), *RUN, COMPLETED]


def test_pictures_stored_before_the_kill_are_used_and_not_paid_for_again(
    runtime: Runtime,
) -> None:
    """Killed between bytes and rows: the next attempt takes the bytes and calls no provider."""
    job = runtime.submit("a red mug [[slow:1]]", n=2)
    runtime.wait_for_step(job, 30)
    keys = [f"{job.id}/1/0", f"{job.id}/1/1"]
    with runtime.locked_row(job):
        wait_until(lambda: stored_keys(runtime, job) == keys, 20, "both pictures to be stored")
        before = [runtime.services.image_store.load(key) for key in keys]
        kill_process(runtime, runtime.worker_pid(job))
    rows = runtime.finish(job)
    assert outcomes(rows) == ["lost", "completed"]
    assert rows.attempts[1]["charge_state"] == "none"
    assert storage_keys(rows) == keys
    assert [runtime.services.image_store.load(key) for key in keys] == before
    steps = [*PLAIN[:-1], waiting(2, 3), *RUN_WITHOUT_PROVIDER, COMPLETED]
    assert runtime.steps(job) == steps


def test_end_that_a_killed_worker_did_not_publish_is_published_by_the_sweep(
    runtime: Runtime,
) -> None:
    """Killed between the last commit and the last event: both event and record still come."""
    job = runtime.submit("a red mug [[slow:1]]")
    runtime.wait_for_step(job, 30)
    pid = runtime.worker_pid(job)
    with runtime.locked_row(job):
        wait_until(lambda: stored_keys(runtime, job), 20, "the picture to be stored")
        runtime.redis.pause()
    wait_until(lambda: runtime.rows(job).job["status"] == "COMPLETED", 20, "the last commit")
    kill_process(runtime, pid)
    runtime.redis.resume()
    rows = runtime.finish(job)
    assert outcomes(rows) == ["completed"]
    assert runtime.steps(job) == PLAIN
    record = runtime.record(job)
    assert record is not None
    assert record["status"] == "SUCCESS"
    assert record["result"]["images"] == [image["url"] for image in rows.images]


def test_job_that_kills_every_worker_ends_after_its_attempts(runtime: Runtime) -> None:
    """Three workers and no more; the runtime goes on with other jobs, then and afterwards."""
    poison = runtime.submit("a red mug [[crash]]")
    beside = runtime.submit("a blue mug")
    rows = runtime.finish(poison, within=60)
    assert rows.job["status"] == "FAILED"
    assert rows.job["error"]["code"] == "worker_lost"
    assert outcomes(rows) == ["lost", "lost", "lost"]
    assert runtime.provider_calls(poison) == 3
    after = runtime.submit("a green mug")
    assert [outcomes(runtime.finish(job)) for job in (beside, after)] == [["completed"]] * 2
    assert runtime.rows(poison) == rows


def test_jobs_of_a_lost_machine_run_on_the_next_one(runtime: Runtime) -> None:
    """Those that ran and one that still waited: all recovered within lease and sweep."""
    warm_up(runtime)
    running = [runtime.submit("a red mug [[slow:1]]") for _ in range(SLOTS)]
    queued = runtime.submit("a blue mug")
    for job in running:
        runtime.wait_for_step(job, 30)
    runtime.kill_machine()
    runtime.start()
    started_at = _now(runtime)
    for job in running:
        rows = runtime.finish(job)
        assert outcomes(rows) == ["lost", "completed"]
        recovered_after = (rows.attempts[0]["finished_at"] - started_at).total_seconds()
        assert recovered_after < runtime.settings.lease_seconds + COLD_SWEEP_SECONDS
    assert outcomes(runtime.finish(queued)) == ["completed"]
    assert [step for step in runtime.steps(queued) if step.status is JobStatus.PENDING] == PLAIN[:1]


def _now(runtime: Runtime) -> datetime:
    with runtime.database() as cursor:
        cursor.execute("SELECT now()")
        now: datetime = cursor.fetchone()["now"]
        return now
