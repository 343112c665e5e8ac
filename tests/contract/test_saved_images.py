"""Images that were saved reach the row, whatever ends the job: they were paid for."""

from contextlib import suppress

import psycopg2
import pytest

from shared.imaging.provider import GeneratedImage
from shared.jobs.model import Job
from shared.status import COMPLETED, waiting
from tests.support.faults import kill_process, other_settings, warm_up
from tests.support.images_api import png
from tests.support.runtime import Rows, Runtime
from tests.support.story import lines_of, outcomes, storage_keys, stored_keys
from tests.support.wait import wait_until


def save_first(runtime: Runtime, job: Job) -> None:
    """Save image 0 of a job, as its first attempt would."""
    picture = (png(256, 256), "image/png", 256, 256)
    image = GeneratedImage(0, *picture, seed=7, provider="mock", model="mock-1")
    runtime.services.image_store.save(job.id, 1, image)


def in_second_attempt(runtime: Runtime, prompt: str) -> Job:
    """Return a job of two images whose second attempt runs, and whose first has saved one."""
    job = runtime.submit(prompt, n=2)
    runtime.wait_for_step(job, 30)
    save_first(runtime, job)
    runtime.kill_worker(job)
    runtime.wait_for_step(job, 30, attempt=2)
    return job


def assert_completed_with_the_first(runtime: Runtime, job: Job, rows: Rows) -> None:
    """The row has what was saved, and clients see how many are missing."""
    assert rows.job["status"] == "COMPLETED"
    assert storage_keys(rows) == [f"{job.id}/1/0"]
    assert rows.job["result"]["missing"] == 1
    assert runtime.steps(job)[-1] == COMPLETED


def test_soft_limit_completes_a_job_with_what_is_saved(runtime: Runtime) -> None:
    """The line of the attempt says why the rest is missing."""
    job = in_second_attempt(runtime, "two mugs [[hang]]")
    rows = runtime.finish(job)
    assert_completed_with_the_first(runtime, job, rows)
    assert rows.attempts[1]["error"]["code"] == "soft_time_limit"


def test_cancelled_attempt_completes_a_job_with_what_is_saved(runtime: Runtime) -> None:
    """It stops at once, and makes no further image."""
    job = in_second_attempt(runtime, "two mugs [[hang]]")
    runtime.services.cancel(job.id)
    rows = runtime.finish(job)
    assert_completed_with_the_first(runtime, job, rows)
    assert rows.attempts[1]["error"]["code"] == "cancelled"


def test_permanent_error_completes_a_job_with_what_is_saved(runtime: Runtime) -> None:
    """The account was used up after the first image."""
    job = in_second_attempt(runtime, "two mugs [[quota]] [[slow:2]]")
    rows = runtime.finish(job)
    assert_completed_with_the_first(runtime, job, rows)
    assert rows.attempts[1]["error"]["code"] == "quota_exceeded"


def test_cancel_between_attempts_completes_a_job_with_what_is_saved(runtime: Runtime) -> None:
    """At once, as it ends a waiting job without any image."""
    job = runtime.submit("two mugs [[short:1]] [[rate-limit:9]]", n=2)
    wait_until(lambda: waiting(2, 3) in runtime.steps(job), 20, "the job to wait")
    save_first(runtime, job)
    assert runtime.services.cancel(job.id).status.name == "COMPLETED"
    assert_completed_with_the_first(runtime, job, runtime.finish(job))


@pytest.mark.parametrize("saves", [0, 1, 2])
def test_job_that_loses_its_last_worker_is_completed_from_what_is_saved(
    runtime: Runtime, saves: int
) -> None:
    """By the process that finds it; only a job without any image has failed."""
    with other_settings(runtime, MAX_ATTEMPTS="1"):
        warm_up(runtime)
        job = runtime.accept("two mugs [[slow:2]]", n=2)
        with runtime.database() as cursor:
            cursor.execute(
                "UPDATE generation_jobs SET max_attempts = 1 WHERE id = %s", (str(job.id),)
            )
        runtime.wait_for_step(job, 30)
        if saves == 1:
            save_first(runtime, job)
        if saves == 2:
            with runtime.locked_row(job):
                wait_until(lambda: len(stored_keys(runtime, job)) == 2, 20, "both images")
                kill_process(runtime, runtime.worker_pid(job))
        else:
            runtime.kill_worker(job)
        rows = runtime.finish(job)
    assert outcomes(rows) == ["lost"]
    if saves == 0:
        assert rows.job["error"]["code"] == "worker_lost"
    else:
        assert rows.job["status"] == "COMPLETED"
        assert storage_keys(rows) == [f"{job.id}/1/{n}" for n in range(saves)]
        assert rows.job["result"]["missing"] == 2 - saves


def test_outage_of_the_database_at_the_finish_loses_no_image(runtime: Runtime) -> None:
    """It lasts beyond the soft limit: the images are recorded as soon as they can be."""
    job = runtime.submit("two mugs [[slow:0.5]]", n=2)
    with suppress(psycopg2.Error), runtime.locked_images():
        wait_until(
            lambda: any(
                line.get("code") == "soft_time_limit"
                for line in lines_of(runtime, job, "attempt failed")
            ),
            30,
            "the soft limit to pass",
        )
        assert len(stored_keys(runtime, job)) == 2
    rows = runtime.finish(job)
    assert rows.job["status"] == "COMPLETED"
    assert storage_keys(rows) == [f"{job.id}/1/{n}" for n in range(2)]
