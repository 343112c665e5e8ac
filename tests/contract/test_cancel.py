"""Cancelling: at once while a job waits, at its next breath while it runs, never afterwards."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from shared.errors import UnknownJob
from shared.status import PREPARING, QUEUED, STARTING, failed, rendering, waiting
from tests.support.faults import kill_process
from tests.support.runtime import Rows, Runtime
from tests.support.story import PLAIN, outcomes, refusals, story_of
from tests.support.wait import wait_until

SLACK_SECONDS = 1.0
"""For a loaded machine: what a cancelled attempt may take to write its end."""


def test_job_cancelled_before_it_ran_ends_at_once(runtime: Runtime) -> None:
    """No worker has to agree or to be running; its envelope changes nothing later."""
    with runtime.paused():
        job = runtime.submit("a blue mug")
        cancelled = runtime.services.cancel(job.id)
        assert cancelled.finished_at == cancelled.cancel_requested_at
        story = story_of(runtime, job)
        assert_cancelled(story.rows, attempt=0)
        assert outcomes(story.rows) == []
        assert story.steps == [QUEUED, failed(0, "Cancelled")]
        assert story.record is not None
        assert story.record["status"] == "FAILURE"
        assert story.record["result"]["exc_message"] == ["cancelled", "Cancelled"]
    wait_until(lambda: refusals(runtime, job) >= 1, 20, "the envelope to be refused")
    runtime.services.cancel(job.id)
    assert story_of(runtime, job) == story


@pytest.mark.parametrize("script", ["[[slow:8]]", "[[hang]]"])
def test_cancelled_attempt_stops_in_the_middle_of_a_provider_call(
    runtime: Runtime, script: str
) -> None:
    """Whether the provider steps on or hangs: at its next step or lease extension."""
    job = runtime.submit(f"a red mug {script}")
    runtime.wait_for_step(job, 30)
    assert runtime.services.cancel(job.id).finished_at is None
    rows = runtime.finish(job)
    assert_cancelled(rows, attempt=1)
    assert outcomes(rows) == ["failed"]
    assert rows.attempts[0]["charge_state"] == "none"
    assert rows.images == []
    took = rows.job["finished_at"] - rows.job["cancel_requested_at"]
    assert took.total_seconds() < runtime.settings.lease_seconds / 4 + SLACK_SECONDS
    steps = [QUEUED, STARTING, PREPARING, rendering(30), failed(30, "Cancelled")]
    assert runtime.steps(job) == steps


def test_job_cancelled_while_it_waits_for_a_retry_ends_at_once(runtime: Runtime) -> None:
    """No other attempt follows: the envelope that comes when it was due changes nothing."""
    job = runtime.submit("a red mug [[rate-limit:1.5]]")
    wait_until(lambda: waiting(2, 3) in runtime.steps(job), 20, "the job to wait for attempt 2")
    runtime.services.cancel(job.id)
    story = story_of(runtime, job)
    assert_cancelled(story.rows, attempt=1)
    assert outcomes(story.rows) == ["failed"]
    assert story.steps == [*PLAIN[:5], waiting(2, 3), failed(0, "Cancelled")]
    runtime.dispatch(job)
    wait_until(lambda: refusals(runtime, job) >= 1, 20, "a late envelope to be refused")
    assert story_of(runtime, job) == story


def test_job_that_is_cancelled_and_loses_its_worker_ends_cancelled(runtime: Runtime) -> None:
    """The process that finds the lost job ends it; no attempt follows."""
    job = runtime.submit("a red mug [[block:3]]")
    runtime.wait_for_step(job, 30)
    runtime.services.cancel(job.id)
    kill_process(runtime, runtime.worker_pid(job))
    rows = runtime.finish(job)
    assert_cancelled(rows, attempt=1)
    assert outcomes(rows) == ["lost"]
    assert runtime.steps(job)[-1] == failed(30, "Cancelled")


def test_cancel_changes_nothing_about_an_ended_job(runtime: Runtime) -> None:
    """A completed job stays completed, and no event is published."""
    job = runtime.submit("a red mug")
    runtime.finish(job)
    story = story_of(runtime, job)
    assert runtime.services.cancel(job.id).status.name == "COMPLETED"
    assert story_of(runtime, job) == story


def test_cancel_of_an_unknown_job_is_refused(runtime: Runtime) -> None:
    """So is one that names another workspace's job."""
    with pytest.raises(UnknownJob):
        runtime.services.cancel(uuid4())
    job = runtime.submit("a red mug")
    with pytest.raises(UnknownJob):
        runtime.services.cancel(job.id, "another-workspace")
    assert outcomes(runtime.finish(job)) == ["completed"]


def assert_cancelled(rows: Rows, attempt: int) -> None:
    """The row says FAILED, for the one reason, in its structured error."""
    error: Mapping[str, Any] = {
        "code": "cancelled",
        "message": "Cancelled",
        "retryable": False,
        "attempt": attempt,
    }
    assert (rows.job["status"], rows.job["message"]) == ("FAILED", "Cancelled")
    assert rows.job["error"] == error
