"""The published promises, checked on what is left of a job after any faults."""

import hashlib
from itertools import pairwise

from shared.jobs.model import Job
from shared.status import JobStatus
from tests.support.runtime import Rows, Runtime
from tests.support.story import outcomes

REASONS = {
    *("cancelled", "prompt_rejected", "provider_unavailable", "rate_limited", "images_missing"),
    *("service_unavailable", "soft_time_limit", "time_limit", "worker_lost"),
    *("storage_unavailable",),
}
"""Codes that a job may end with after faults; `internal` is not among them."""


def assert_promises(
    runtime: Runtime, job: Job, rows: Rows, images: int = 2, redis_was_emptied: bool = False
) -> None:
    """A job has ended once, by one attempt, with everything it did in ledger and stream.

    Args:
        runtime: Has run the job.
        job: Has ended.
        rows: Of the job.
        images: How many were asked for.
        redis_was_emptied: The stream may lack what came before, and the record may be gone.
    """
    assert_ledger_is_complete(rows)
    assert_pictures_are_of_one_finish(runtime, rows, images)
    assert_events_are_in_order(runtime, job, rows, redis_was_emptied)
    assert_record_says_the_same(runtime, job, rows, redis_was_emptied)


def assert_ledger_is_complete(rows: Rows) -> None:
    """Attempts are counted without a gap, within the limit; at most the last one completed.

    None has, where a job was completed from what lost attempts had saved.
    """
    job = rows.job
    numbers = [attempt["number"] for attempt in rows.attempts]
    assert numbers == list(range(1, job["attempt"] + 1))
    assert job["attempt"] <= job["max_attempts"]
    completed = [outcome == "completed" for outcome in outcomes(rows)]
    assert not any(completed[:-1])
    assert job["status"] == "COMPLETED" or not any(completed)
    assert any(completed) or job["status"] == "FAILED" or rows.images
    assert all(attempt["finished_at"] is not None for attempt in rows.attempts)


def assert_pictures_are_of_one_finish(runtime: Runtime, rows: Rows, images: int) -> None:
    """A completed job has each position once, all written as it ended; a failed one has none."""
    if rows.job["status"] == "FAILED":
        assert rows.job["error"]["code"] in REASONS
        assert rows.images == []
        return
    result = rows.job["result"]
    positions = [image["position"] for image in rows.images]
    assert len(positions) == len(set(positions)) == images - result["missing"] > 0
    assert set(positions) <= set(range(images))
    assert {image["created_at"] for image in rows.images} == {rows.job["finished_at"]}
    assert [image["url"] for image in result["images"]] == [image["url"] for image in rows.images]
    for image in rows.images:
        data = runtime.services.image_store.load(image["storage_key"])
        assert hashlib.sha256(data).hexdigest() == image["sha256"]


def assert_events_are_in_order(
    runtime: Runtime, job: Job, rows: Rows, redis_was_emptied: bool
) -> None:
    """Progress falls only where an attempt begins; the one last event is what the row says."""
    steps = runtime.steps(job)
    if redis_was_emptied and not steps:
        return
    assert [step.status.is_terminal for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].status is JobStatus[rows.job["status"]]
    assert (steps[-1].progress, steps[-1].message) == (rows.job["progress"], rows.job["message"])
    for before, after in pairwise(steps):
        assert after.progress >= before.progress or after.status is JobStatus.PENDING
    assert runtime.provider_calls(job) <= rows.job["attempt"]
    if redis_was_emptied:
        return
    stream = iter([step.as_json() for step in steps])
    assert [message for message in runtime.channel.of(job.task_id) if message not in stream] == []


def assert_record_says_the_same(
    runtime: Runtime, job: Job, rows: Rows, redis_was_emptied: bool
) -> None:
    """Celery's clients get the pictures, or the reason why there are none."""
    record = runtime.record(job)
    if redis_was_emptied and record is None:
        return
    assert record is not None
    if rows.job["status"] == "COMPLETED":
        assert record["status"] == "SUCCESS"
        assert record["result"]["images"] == [image["url"] for image in rows.images]
    else:
        assert record["status"] == "FAILURE"
        assert record["result"]["exc_message"][0] == rows.job["error"]["code"]
