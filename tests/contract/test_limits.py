"""What ends an attempt that takes too long: the deadline, the soft limit, the hard one."""

from datetime import timedelta

from shared.jobs.model import Job
from shared.status import PREPARING, QUEUED, STARTING, failed, rendering
from tests.support.faults import other_settings
from tests.support.runtime import SLOTS, Rows, Runtime
from tests.support.story import outcomes

CLAIM_SECONDS = 1.0
"""What may pass between the start of the clock and the row's `started_at`."""

AT_ONCE_SECONDS = 2.0
"""What "at once" may take on a busy machine."""


def test_soft_limit_ends_what_runs_in_python_and_what_blocks_in_c(runtime: Runtime) -> None:
    """Both slots are stopped after the limit, before the hard one, and take the next jobs."""
    jobs = [runtime.submit(f"a mug {script}") for script in ("[[hang]]", "[[block:3.5]]")]
    for job in jobs:
        rows = runtime.finish(job)
        assert_stopped_at_soft_limit(runtime, job, rows, progress=30)
        assert duration_seconds(rows) >= runtime.settings.soft_time_limit - CLAIM_SECONDS
    for rows in run_in_all_slots(runtime):
        waited = rows.job["started_at"] - rows.job["created_at"]
        assert waited < timedelta(seconds=AT_ONCE_SECONDS)


def test_hard_limit_ends_what_nothing_else_can_stop(runtime: Runtime) -> None:
    """The process is killed and the job fails for good; a neighbour stops by its own deadline."""
    job, neighbour = runtime.submit("a mug [[block]]"), runtime.submit("a mug [[slow:9]]")
    assert_stopped_at_soft_limit(runtime, neighbour, runtime.finish(neighbour), progress=30)
    rows = runtime.finish(job)
    reason = "Killed at the time limit of 5 s"
    assert rows.job["error"] == {
        "code": "time_limit",
        "message": reason,
        "retryable": False,
        "attempt": 1,
    }
    assert runtime.steps(job) == [QUEUED, STARTING, PREPARING, rendering(30), failed(30, reason)]
    assert (rows.job["status"], outcomes(rows)) == ("FAILED", ["lost"])
    assert rows.attempts[0]["charge_state"] == "none"
    limit = runtime.settings.time_limit
    at_most = limit + runtime.settings.sweep_seconds + AT_ONCE_SECONDS
    assert limit - CLAIM_SECONDS <= duration_seconds(rows) < at_most
    run_in_all_slots(runtime)


def test_worker_that_dies_in_the_last_lease_period_did_not_reach_its_limit(
    runtime: Runtime,
) -> None:
    """Its lease would have run up to the limit; the job is tried again."""
    with other_settings(runtime, SOFT_TIME_LIMIT="6", TIME_LIMIT="7", LEASE_SECONDS="6"):
        job = runtime.submit("a mug [[slow:1]]")
        runtime.wait_for_step(job, 50)
        runtime.kill_machine()
        runtime.start()
        rows = runtime.finish(job)
    assert outcomes(rows) == ["lost", "completed"]
    assert rows.attempts[0]["error"]["code"] == "worker_lost"


def assert_stopped_at_soft_limit(runtime: Runtime, job: Job, rows: Rows, progress: int) -> None:
    """One attempt, which says where it stood and why it ended, before it had to be killed."""
    reason = "Stopped at the soft time limit of 3 s"
    assert rows.job["error"] == {
        "code": "soft_time_limit",
        "message": reason,
        "retryable": False,
        "attempt": 1,
    }
    assert runtime.steps(job)[-1] == failed(progress, reason)
    assert (rows.job["status"], outcomes(rows)) == ("FAILED", ["failed"])
    assert duration_seconds(rows) < runtime.settings.time_limit


def run_in_all_slots(runtime: Runtime) -> list[Rows]:
    """Run as many jobs as there are slots; each completes at its first attempt."""
    every_rows = [runtime.finish(job) for job in [runtime.submit("a mug") for _ in range(SLOTS)]]
    assert [outcomes(rows) for rows in every_rows] == [["completed"]] * SLOTS
    return every_rows


def duration_seconds(rows: Rows) -> float:
    """Return how long the only attempt took."""
    [attempt] = rows.attempts
    return float((attempt["finished_at"] - attempt["started_at"]) / timedelta(seconds=1))
