"""What follows when an attempt fails: another one, in time, or the end and its reason."""

from datetime import timedelta

from shared.status import COMPLETED, PREPARING, QUEUED, STARTING, failed, rendering, waiting
from tests.support.runtime import Rows, Runtime
from tests.support.story import RUN, outcomes, storage_keys
from tests.support.waits import Wait

HALF_A_RUN = [STARTING, PREPARING, rendering(30), rendering(50)]
"""The events of an attempt that fails after the provider's second step."""

RUN_WITHOUT_IMAGES = RUN[:-1]
"""The events of an attempt that has nothing to save."""

LATE_SECONDS = 3.0
"""How long after it is due an attempt may start on a busy machine."""


def test_transient_failures_are_tried_again_after_the_delays_of_the_policy(
    runtime: Runtime,
) -> None:
    """Two failures, two announced waits within the backoff's ceiling, then success."""
    job = runtime.submit("a mug [[fail:2]]")
    rows = runtime.finish(job)
    assert runtime.steps(job) == [
        QUEUED,
        *HALF_A_RUN,
        waiting(2, 3),
        *HALF_A_RUN,
        waiting(3, 3),
        *RUN,
        COMPLETED,
    ]
    assert (rows.job["status"], rows.job["attempt"], rows.job["error"]) == ("COMPLETED", 3, None)
    assert [attempt["number"] for attempt in rows.attempts] == [1, 2, 3]
    assert outcomes(rows) == ["failed", "failed", "completed"]
    assert storage_keys(rows) == [f"{job.id}/3/0"]
    policy = runtime.settings.retry_policy
    waits = runtime.waits(job)
    assert_kept(waits, rows)
    for wait in waits:
        assert wait.seconds in range(policy.ceiling_seconds(wait.failures) + 1)


def test_wait_that_the_provider_asks_for_is_honoured(runtime: Runtime) -> None:
    """Retry-After outweighs a shorter backoff, to the fraction of a second."""
    job = runtime.submit("a mug [[rate-limit:1.5]]")
    rows = runtime.finish(job)
    [wait] = runtime.waits(job)
    assert wait.seconds == 1.5
    assert_kept([wait], rows)
    assert outcomes(rows) == ["failed", "completed"]
    assert rows.attempts[0]["error"] == {
        "code": "rate_limited",
        "message": "The image provider was too busy",
        "retryable": True,
        "attempt": 1,
        "provider_code": "rate_limit_exceeded",
    }


def test_job_whose_attempts_all_fail_keeps_the_last_error(runtime: Runtime) -> None:
    """FAILED with the reason of the last attempt; the ledger knows that of each."""
    job = runtime.submit("a mug [[fail:3]]")
    rows = runtime.finish(job)
    reason = "The mock provider is unavailable in attempt 3"
    assert runtime.steps(job)[-1] == failed(50, reason)
    assert (rows.job["status"], rows.job["attempt"]) == ("FAILED", 3)
    assert rows.job["error"] == {
        "code": "provider_unavailable",
        "message": reason,
        "retryable": True,
        "attempt": 3,
        "provider_code": "server_error",
    }
    assert rows.job["error"] == rows.attempts[2]["error"]
    assert [attempt["error"]["attempt"] for attempt in rows.attempts] == [1, 2, 3]
    assert [attempt["charge_state"] for attempt in rows.attempts] == ["none"] * 3
    assert rows.job["result"] is None
    assert rows.images == []
    assert runtime.provider_calls(job) == 3


def test_permanent_error_ends_the_job_without_another_attempt(runtime: Runtime) -> None:
    """A rejected prompt fails at once, at the progress it had reached."""
    job = runtime.submit("a mug [[reject]]")
    rows = runtime.finish(job)
    reason = "The mock provider rejects this prompt"
    assert runtime.steps(job) == [QUEUED, STARTING, PREPARING, failed(10, reason)]
    assert rows.job["error"] == {
        "code": "prompt_rejected",
        "message": reason,
        "retryable": False,
        "attempt": 1,
        "provider_code": "content_policy_violation",
        "stage": "input",
    }
    assert (rows.job["status"], outcomes(rows)) == ("FAILED", ["failed"])
    assert runtime.waits(job) == []


def test_row_whose_params_make_no_sense_fails_without_asking_the_provider(
    runtime: Runtime,
) -> None:
    """A foreign producer's mistake is a permanent error that names the field."""
    job = runtime.write_row({"prompt": "a mug", "size": "7x7"})
    runtime.queue.send(str(job.id))
    rows = runtime.finish(job)
    assert rows.job["error"]["code"] == "invalid_request"
    assert "size" in rows.job["error"]["message"]
    assert (rows.job["status"], outcomes(rows)) == ("FAILED", ["failed"])
    assert rows.attempts[0]["charge_state"] == "none"
    assert runtime.provider_calls(job) == 0


def test_images_that_never_come_are_asked_for_alone_and_end_up_missing(runtime: Runtime) -> None:
    """What came is kept and never asked for again; the job completes with what there is."""
    job = runtime.submit("three mugs [[fail:1]] [[short:1]]", n=3)
    rows = runtime.finish(job)
    assert storage_keys(rows) == [f"{job.id}/2/0", f"{job.id}/2/1"]
    assert runtime.saved_keys(job) == storage_keys(rows)
    assert rows.job["status"] == "COMPLETED"
    assert rows.job["result"]["missing"] == 1
    assert [image["position"] for image in rows.job["result"]["images"]] == [0, 1]
    assert outcomes(rows) == ["failed", "failed", "completed"]
    assert [attempt["error"]["message"] for attempt in rows.attempts[1:]] == [
        "1 of 3 images did not come from the provider",
        "1 of 1 images did not come from the provider",
    ]
    assert runtime.steps(job) == [
        QUEUED,
        *HALF_A_RUN,
        waiting(2, 3),
        *RUN,
        waiting(3, 3),
        *RUN_WITHOUT_IMAGES,
        COMPLETED,
    ]
    record = runtime.record(job)
    assert record is not None
    assert record["result"] == {
        "job_id": str(job.id),
        "images": [image["url"] for image in rows.images],
    }


def assert_kept(waits: list[Wait], rows: Rows) -> None:
    """Each wait began at its attempt's end, and the next attempt not before it was over."""
    assert len(waits) == len(rows.attempts) - 1
    for wait, before, after in zip(waits, rows.attempts, rows.attempts[1:], strict=False):
        assert wait.failures == before["number"]
        assert wait.began_at == before["finished_at"]
        assert wait.until <= after["started_at"] < wait.until + timedelta(seconds=LATE_SECONDS)
