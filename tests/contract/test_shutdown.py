"""A runtime that is asked to stop: it waits for a while, then hands back what still runs."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil

from tests.support.faults import other_settings, paused_provider, stopping, warm_up
from tests.support.runtime import Runtime
from tests.support.story import PLAIN, lines_of, outcomes

ENDING_SECONDS = 10.0
"""For a loaded machine: what the processes of a runtime may take to end, beside any job."""


PATIENT = {"SHUTDOWN_GRACE_SECONDS": "60", "SOFT_TIME_LIMIT": "120", "TIME_LIMIT": "150"}


def test_short_job_finishes_before_the_runtime_stops(runtime: Runtime) -> None:
    """Nothing waits once it is done; a job that was just being claimed loses no attempt."""
    with ExitStack() as lock, other_settings(runtime, **PATIENT):
        warm_up(runtime)
        job = runtime.submit("a red mug [[slow:1.5]]")
        with paused_provider(runtime):
            late = runtime.accept("a blue mug")
            lock.enter_context(runtime.locked_row(late))
        runtime.wait_for_step(job, 30)
        runtime.dispatch(late)
        runtime.pid_waiting_for_lock()
        with ends_cleanly(runtime), stopping(runtime):
            lock.close()
        assert outcomes(runtime.rows(job)) == ["completed"]
    assert runtime.steps(job) == PLAIN
    runtime.start()
    assert outcomes(runtime.finish(late)) == ["completed"]


def test_long_job_is_handed_back_after_the_grace_and_runs_again_at_once(runtime: Runtime) -> None:
    """Its lease is given up, not left to run out, and its next attempt follows the restart.

    No limit strikes meanwhile, however slow the machine.
    """
    with other_settings(runtime, SOFT_TIME_LIMIT="60", TIME_LIMIT="90"):
        job = runtime.submit("a red mug [[hang]]")
        runtime.wait_for_step(job, 30)
        with ends_cleanly(runtime), stopping(runtime):
            assert runtime.rows(job).job["status"] == "PROCESSING"
        assert len(lines_of(runtime, job, "attempt given up")) == 1
        runtime.start()
        runtime.wait_for_step(job, 30, attempt=2)
        runtime.services.cancel(job.id)
        assert outcomes(runtime.finish(job)) == ["lost", "failed"]


@contextmanager
def ends_cleanly(runtime: Runtime) -> Iterator[None]:
    """Check that the runtime ends in the block, in time, without a trace but its log."""
    text_before = runtime.log_path.read_text()
    processes = [psutil.Process(runtime.process.pid), *runtime.process.descendants()]
    began_at = time.monotonic()
    yield
    assert time.monotonic() - began_at < ENDING_SECONDS
    assert [process for process in processes if process.is_running()] == []
    text = runtime.log_path.read_text()[len(text_before) :]
    assert "Traceback" not in text
    # An envelope of an earlier test may come once more for a job that is deleted since.
    assert [
        line
        for line in text.splitlines()
        if '"level": "error"' in line and '"event": "envelope rejected"' not in line
    ] == []
