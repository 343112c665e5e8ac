"""The published promise, checked on what is left after random faults."""

import hashlib
from itertools import pairwise

import pytest

from shared.jobs.model import Job
from shared.status import JobStatus
from tests.support.random_faults import RandomFaults
from tests.support.runtime import Rows, Runtime
from tests.support.story import outcomes

FAULTS = 12

SCRIPTS = (
    *("", "", "[[slow:1]]", "[[slow:2]]", "[[fail:1]]", "[[fail:2]]"),
    *("[[rate-limit:1]]", "[[short:1]]", "[[reject]]", "[[crash:1]]", "[[crash]]", "[[block:1]]"),
)

REASONS = {
    *("cancelled", "prompt_rejected", "provider_unavailable", "rate_limited", "images_missing"),
    *("service_unavailable", "soft_time_limit", "time_limit", "worker_lost"),
}
"""Codes that a job may end with here; `internal` is not among them."""


def test_promises_hold_after_random_faults(
    runtime: Runtime, request: pytest.FixtureRequest
) -> None:
    """Each job ends once, by one attempt, with everything it did in ledger and stream."""
    seed = request.config.getoption("randomly_seed")
    print(f"drawn from --randomly-seed={seed}")
    jobs = [runtime.submit(f"a red mug {script}", n=2) for script in SCRIPTS]
    RandomFaults(runtime, jobs, seed).strike(FAULTS)
    for job in jobs:
        rows = runtime.finish(job, within=60)
        assert_ledger_is_complete(rows)
        assert_pictures_are_of_one_finish(runtime, rows)
        assert_events_are_in_order(runtime, job, rows)
        assert_record_says_the_same(runtime, job, rows)


def assert_ledger_is_complete(rows: Rows) -> None:
    """Attempts are counted without a gap, within the limit; at most the last one completed."""
    job = rows.job
    numbers = [attempt["number"] for attempt in rows.attempts]
    assert numbers == list(range(1, job["attempt"] + 1))
    assert job["attempt"] <= job["max_attempts"]
    completed = [outcome == "completed" for outcome in outcomes(rows)]
    assert not any(completed[:-1])
    assert completed[-1:] == ([True] if job["status"] == "COMPLETED" else [False][: len(numbers)])
    assert all(attempt["finished_at"] is not None for attempt in rows.attempts)


def assert_pictures_are_of_one_finish(runtime: Runtime, rows: Rows) -> None:
    """A completed job has each position once, all written as it ended; a failed one has none."""
    if rows.job["status"] == "FAILED":
        assert rows.job["error"]["code"] in REASONS
        assert rows.images == []
        return
    result = rows.job["result"]
    assert [image["position"] for image in rows.images] == list(range(2 - result["missing"]))
    assert {image["created_at"] for image in rows.images} == {rows.job["finished_at"]}
    assert [image["url"] for image in result["images"]] == [image["url"] for image in rows.images]
    for image in rows.images:
        data = runtime.services.image_store.load(image["storage_key"])
        assert hashlib.sha256(data).hexdigest() == image["sha256"]


def assert_events_are_in_order(runtime: Runtime, job: Job, rows: Rows) -> None:
    """Progress falls only where an attempt begins; the one last event is what the row says."""
    steps = runtime.steps(job)
    assert [step.status.is_terminal for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].status is JobStatus[rows.job["status"]]
    assert (steps[-1].progress, steps[-1].message) == (rows.job["progress"], rows.job["message"])
    for before, after in pairwise(steps):
        assert after.progress >= before.progress or after.status is JobStatus.PENDING
    assert runtime.provider_calls(job) <= rows.job["attempt"]
    stream = iter([step.as_json() for step in steps])
    assert [message for message in runtime.channel.of(job.task_id) if message not in stream] == []


def assert_record_says_the_same(runtime: Runtime, job: Job, rows: Rows) -> None:
    """Celery's clients get the pictures, or the reason why there are none."""
    record = runtime.record(job)
    assert record is not None
    if rows.job["status"] == "COMPLETED":
        assert record["status"] == "SUCCESS"
        assert record["result"]["images"] == [image["url"] for image in rows.images]
    else:
        assert record["status"] == "FAILURE"
        assert record["result"]["exc_message"][0] == rows.job["error"]["code"]
