"""Redis in its bad states under running jobs: no process ends, no job is lost.

A frozen one is a test of outages: it costs time.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.support.redis_outages import (
    cut,
    emptied,
    full,
    read_only,
    restarted,
    unable_to_save,
    without_replicas,
)
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

GOES_ON_WITHIN_SECONDS = 15.0
"""A pause of the breaker, a reconnect, a sweep, and what a busy machine adds."""


@pytest.mark.parametrize(
    "state",
    [full, read_only, without_replicas, unable_to_save, restarted, emptied, cut],
    ids=lambda state: state.__name__,
)
def test_no_process_ends_and_no_job_is_lost_whatever_becomes_of_redis(
    runtime: Runtime, state: Callable[[Runtime], AbstractContextManager[None]]
) -> None:
    """Running jobs go on, others wait, and all resumes when Redis is well again."""
    main_pid = runtime.process.pid
    jobs = [runtime.submit("a mug [[slow:1]]") for _ in range(4)]
    runtime.wait_for_step(jobs[0], 10)
    with state(runtime):
        # A running job ends, with its end in the row at least.
        wait_until(
            lambda: any(runtime.rows(job).job["finished_at"] for job in jobs), 20, "a job to end"
        )
        jobs.append(runtime.submit("a mug"))
    following = runtime.submit("a mug")
    for job in (*jobs, following):
        rows = runtime.finish(job, within=GOES_ON_WITHIN_SECONDS)
        assert rows.job["status"] == "COMPLETED"
        assert len(rows.attempts) == 1
    assert runtime.process.is_running
    assert runtime.process.pid == main_pid
