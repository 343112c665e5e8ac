"""A full system: due retries start in time, workspaces take turns, a lost queue costs seconds."""

from datetime import timedelta

import psutil

from shared.jobs.model import Job
from tests.support.api import OTHER_WORKSPACE
from tests.support.faults import one_slot, other_settings, paused_provider
from tests.support.runtime import SLOTS, Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until

LATE = timedelta(seconds=2)
"""How long after it is due an attempt may start, if jobs take half a second."""

MEMORY_BYTES = 12 * 1024 * 1024
"""Less than a hundred messages with their requests would take in a worker, and their timers."""


def test_a_retry_starts_when_it_is_due_whatever_waits(runtime: Runtime) -> None:
    """With one slot and a backlog: after the job that runs, and the one behind it."""
    with one_slot(runtime):
        job = runtime.submit("a mug [[rate-limit:1]]")
        others = [runtime.submit("a mug [[slow:0.4]]") for _ in range(14)]
        rows = runtime.finish(job)
        [wait] = runtime.waits(job)
        assert rows.attempts[1]["started_at"] - wait.until < LATE
        assert unfinished(runtime, others) > len(others) / 2
        for other in others:
            assert outcomes(runtime.finish(other)) == ["completed"]


def test_one_workspace_does_not_hold_up_another(runtime: Runtime) -> None:
    """The first job of the other starts after two for each slot at most."""
    assert OTHER_WORKSPACE in runtime.api.keys
    many = [runtime.submit("a mug [[slow:0.3]]") for _ in range(20)]
    other = runtime.submit("a mug", workspace_id=OTHER_WORKSPACE)
    row = runtime.finish(other).job
    starts = [runtime.finish(job).attempts[0]["started_at"] for job in many]
    before = [start for start in starts if row["created_at"] < start < row["started_at"]]
    assert len(before) <= 2 * SLOTS


def test_jobs_that_waited_end_although_queue_and_redis_were_emptied(runtime: Runtime) -> None:
    """What was sent is missed soon; all others wait in their rows."""
    jobs = [runtime.submit("a mug [[slow:1.5]]") for _ in range(SLOTS)]
    jobs += [runtime.submit("a mug [[slow:0.3]]") for _ in range(20)]
    for job in jobs[:SLOTS]:
        runtime.wait_for_step(job, 10)
    runtime.redis_client.flushall()
    runtime.queue.clear()
    for job in jobs:
        assert outcomes(runtime.finish(job)) == ["completed"]


def test_retries_that_wait_take_no_slot_no_message_and_no_memory(runtime: Runtime) -> None:
    """They wait in their rows: others run meanwhile, and all start when they are due."""
    with other_settings(runtime, MOCK_STEP_SECONDS="0"):
        runtime.finish(runtime.submit("a mug"))
        before = memory_bytes(runtime)
        with paused_provider(runtime):
            jobs = [runtime.submit("a mug [[rate-limit:12]]") for _ in range(30)]
        wait_until(lambda: waiting(runtime) == len(jobs), 30, "all jobs to wait for a retry")
        # Where a message wakes the runtime, there may be one of them.
        wait_until(lambda: runtime.queue.length() <= 1, 5, "the queue to be empty")
        assert memory_bytes(runtime) - before < MEMORY_BYTES
        assert outcomes(runtime.finish(runtime.submit("a mug"), within=6)) == ["completed"]
        for job in jobs:
            assert outcomes(runtime.finish(job)) == ["failed", "completed"]


def unfinished(runtime: Runtime, jobs: list[Job]) -> int:
    """Return how many of the jobs have not ended."""
    return sum(runtime.rows(job).job["finished_at"] is None for job in jobs)


def waiting(runtime: Runtime) -> int:
    """Return how many jobs wait for another attempt."""
    with runtime.database() as cursor:
        cursor.execute(
            "SELECT count(*) FROM generation_jobs"
            " WHERE status = 'PENDING' AND next_attempt_at IS NOT NULL AND dispatched_at IS NULL"
        )
        return int(cursor.fetchone()["count"])


def memory_bytes(runtime: Runtime) -> int:
    """Return what the main process of the runtime has in memory."""
    return int(psutil.Process(runtime.process.pid).memory_info().rss)
