"""More envelopes than jobs, and attempts that come back from the dead."""

from tests.support.faults import other_settings, warm_up
from tests.support.runtime import Rows, Runtime
from tests.support.story import (
    PLAIN,
    lines_of,
    outcomes,
    refusals,
    storage_keys,
    stored_keys,
    story_of,
)
from tests.support.wait import wait_until


def test_five_envelopes_at_once_make_one_attempt(runtime: Runtime) -> None:
    """Four find nothing to run; the worker publishes "Queued" first, as no submitter did."""
    job = runtime.accept("a red mug [[slow:0.4]]")
    for _ in range(4):
        runtime.dispatch(job)
    runtime.queue.send(str(job.id))
    assert outcomes(runtime.finish(job)) == ["completed"]
    wait_until(lambda: refusals(runtime, job) >= 4, 20, "four envelopes to be refused")
    assert runtime.steps(job) == PLAIN
    assert runtime.channel.of(job.task_id) == [step.as_json() for step in PLAIN]


def test_envelopes_of_a_running_and_of_an_ended_job_change_nothing(runtime: Runtime) -> None:
    """They are acknowledged: rows, stream, channel and record stay as they are."""
    job = runtime.submit("a red mug [[slow:0.8]]")
    runtime.wait_for_step(job, 30)
    runtime.dispatch(job)
    runtime.finish(job)
    wait_until(lambda: refusals(runtime, job) >= 1, 20, "the first copy to be refused")
    story = story_of(runtime, job)
    assert outcomes(story.rows) == ["completed"]
    assert story.steps == PLAIN
    runtime.dispatch(job)
    runtime.queue.send(str(job.id))
    wait_until(lambda: refusals(runtime, job) >= 3, 20, "the other copies to be refused")
    assert story_of(runtime, job) == story


def test_attempt_that_wakes_up_after_it_lost_its_lease_changes_its_bill_alone(
    runtime: Runtime,
) -> None:
    """Cut off from both servers it makes and stores its image, which is never used or published."""
    with other_settings(runtime, SOFT_TIME_LIMIT="60", TIME_LIMIT="90"):
        warm_up(runtime)
        job = runtime.submit("a red mug [[slow:1]]")
        runtime.wait_for_step(job, 30)
        with runtime.frozen_worker(job):
            rows = runtime.finish(job)
            with runtime.database() as cursor:
                # As of a provider that may have charged for the call.
                cursor.execute(
                    "UPDATE generation_attempts SET charge_state = 'unknown' WHERE number = 1"
                )
            story = story_of(runtime, job)
            runtime.redis.kill()
            runtime.postgres.pause()
        late_key = f"{job.id}/1/0"
        wait_until(lambda: late_key in stored_keys(runtime, job), 20, "the late picture")
        runtime.postgres.resume()
        runtime.redis.start()
        wait_until(lambda: charges(runtime.rows(job)) == ["none", "none"], 20, "the late bill")
        story.rows.attempts[0] = {**story.rows.attempts[0], "charge_state": "none"}
        assert story_of(runtime, job) == story
        assert lines_of(runtime, job, "attempt overtaken")
    assert outcomes(rows) == ["lost", "completed"]
    assert storage_keys(rows) == [f"{job.id}/2/0"]


def charges(rows: Rows) -> list[str]:
    """Return what the ledger says of each attempt's bill, first to last."""
    return [attempt["charge_state"] for attempt in rows.attempts]
