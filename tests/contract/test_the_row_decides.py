"""Where Redis and the row disagree, the row decides: a failover on either side lost something."""

import os
from uuid import UUID

import pytest

from shared.events.keys import unprefixed as keys
from shared.jobs.model import Job
from tests.contract.test_assets import uploaded
from tests.support.faults import other_settings, paused_provider, warm_up
from tests.support.images_api import png
from tests.support.runtime import Runtime
from tests.support.story import PLAIN, lines_of, outcomes, stored_keys
from tests.support.wait import wait_until


@pytest.mark.parametrize("fence", [{"token": 99}, {"ended": 1}, {"waited_for": 9}, {"cancel": 1}])
def test_fence_of_another_state_stops_no_attempt(runtime: Runtime, fence: dict[str, int]) -> None:
    """Redis failed over under a running attempt, which goes on as if nothing was."""
    job = runtime.submit("a red mug [[slow:0.4]]")
    runtime.wait_for_step(job, 30)
    runtime.redis_client.hset(keys.fence(job.task_id), mapping=fence)
    assert outcomes(runtime.finish(job)) == ["completed"]
    assert runtime.steps(job) == PLAIN
    assert runtime.provider_calls(job) == 1


def test_stale_attempt_publishes_nothing_after_redis_was_emptied(runtime: Runtime) -> None:
    """Its job has ended meanwhile; without the fence only the row knows."""
    with other_settings(runtime, SOFT_TIME_LIMIT="60", TIME_LIMIT="90"):
        warm_up(runtime)
        job = runtime.submit("a red mug [[slow:1]]")
        runtime.wait_for_step(job, 30)
        with runtime.frozen_worker(job):
            assert outcomes(runtime.finish(job)) == ["lost", "completed"]
            runtime.redis_client.delete(keys.fence(job.task_id), keys.stream(job.task_id))
        wait_until(lambda: lines_of(runtime, job, "attempt overtaken"), 20, "the late end")
        assert runtime.steps(job) == []
        runtime.forget_jobs()


def test_job_whose_end_was_lost_is_completed_from_its_images(runtime: Runtime) -> None:
    """PostgreSQL failed over and forgot the commit; nothing is paid or published twice."""
    job = runtime.submit("a red mug")
    runtime.finish(job)
    with runtime.database() as cursor:
        cursor.execute("DELETE FROM images")
        cursor.execute(
            "UPDATE generation_jobs SET status = 'PROCESSING', result = NULL, finished_at = NULL,"
            " announced_at = NULL, progress = 50, lease_owner = 'lost-machine:1',"
            " lease_until = now() - interval '1 second',"
            " time_limit_at = now() + interval '1 minute'"
        )
        cursor.execute("UPDATE generation_attempts SET finished_at = NULL, outcome = NULL")
    assert_completed_from_images(runtime, job, ["lost", "completed"])


def test_job_whose_attempt_was_lost_is_completed_from_its_images(runtime: Runtime) -> None:
    """PostgreSQL has even forgotten the claim: the first attempt begins again."""
    job = runtime.submit("a red mug")
    runtime.finish(job)
    with runtime.database() as cursor:
        cursor.execute("DELETE FROM images")
        cursor.execute("DELETE FROM generation_attempts")
        cursor.execute(
            "UPDATE generation_jobs SET status = 'PENDING', result = NULL, finished_at = NULL,"
            " announced_at = NULL, progress = 0, attempt = 0, lease_token = 0,"
            " started_at = NULL, dispatched_at = NULL"
        )
    assert_completed_from_images(runtime, job, ["completed"])


def assert_completed_from_images(runtime: Runtime, job: Job, expected: list[str]) -> None:
    """Check that a job ends as its attempts say, with the first attempt's image and one end."""
    rows = runtime.finish(job)
    assert outcomes(rows) == expected
    assert [image["storage_key"] for image in rows.images] == [f"{job.id}/1/0"]
    assert rows.attempts[-1]["charge_state"] == "none"
    assert runtime.steps(job) == PLAIN
    assert runtime.channel.of(job.task_id) == [step.as_json() for step in PLAIN]
    record = runtime.record(job)
    assert record is not None
    assert record["result"]["images"] == [rows.images[0]["url"]]


def test_progress_does_not_fall_where_redis_was_unavailable_at_the_verdict(
    runtime: Runtime,
) -> None:
    """The row lags behind the events; the end says what clients have seen, and so does the row."""
    with other_settings(runtime, MAX_ATTEMPTS="1"):
        warm_up(runtime)
        job = runtime.accept("a red mug [[slow:0.3]]")
        with runtime.database() as cursor:
            cursor.execute(
                "UPDATE generation_jobs SET max_attempts = 1 WHERE id = %s", (str(job.id),)
            )
        runtime.wait_for_step(job, 70)
        runtime.kill_machine()
        runtime.redis.pause()
        with runtime.database() as cursor:
            cursor.execute(
                "UPDATE generation_jobs SET progress = 10, lease_until = now()"
                " WHERE status = 'PROCESSING'"
            )
        runtime.services.sweep()
        assert runtime.rows(job).job["status"] == "FAILED"
        runtime.redis.resume()
        runtime.start()
        rows = runtime.finish(job)
    assert rows.job["error"]["code"] == "worker_lost"
    assert rows.job["progress"] == runtime.steps(job)[-1].progress >= 70


def test_attempt_that_lost_its_job_before_the_call_was_charged_nothing(runtime: Runtime) -> None:
    """It waits for its reference until another worker has its job; the ledger says `none` of it."""
    asset = uploaded(runtime.api, png(64, 64))
    path = runtime.image_dir / "assets" / asset["id"]
    data = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    job = runtime.api.submit("a red mug", source_asset_id=asset["id"])
    row = runtime.services.get(UUID(job["id"]))
    runtime.wait_for_step(row, 10)

    def is_revived() -> bool:
        with runtime.database() as cursor:
            cursor.execute("UPDATE generation_jobs SET lease_until = now() WHERE attempt = 1")
        runtime.services.sweep()
        return bool(runtime.rows(row).job["status"] == "PENDING")

    with paused_provider(runtime):
        wait_until(is_revived, 10, "the job to be taken away")
        wait_until(lambda: lines_of(runtime, row, "attempt is to stop"), 10, "the loss")
        path.write_bytes(data)
        wait_until(lambda: lines_of(runtime, row, "attempt overtaken"), 10, "the late end")
        path.unlink()
        path.write_bytes(data)
    rows = runtime.finish(row)
    assert outcomes(rows) == ["lost", "completed"]
    assert rows.attempts[0]["charge_state"] == "none"


def test_images_saved_for_a_deleted_job_are_deleted(runtime: Runtime) -> None:
    """Its attempt was overtaken, and comes back when the job is gone."""
    with other_settings(runtime, SOFT_TIME_LIMIT="60", TIME_LIMIT="90"):
        warm_up(runtime)
        job = runtime.submit("a red mug [[slow:1]]")
        runtime.wait_for_step(job, 30)
        with runtime.frozen_worker(job):
            runtime.finish(job)
            runtime.services.deleter.delete(job.id)
            runtime.redis.kill()
            runtime.postgres.pause()
        wait_until(lambda: f"{job.id}/1/0" in stored_keys(runtime, job), 20, "the late image")
        runtime.postgres.resume()
        runtime.redis.start()
        wait_until(lambda: lines_of(runtime, job, "attempt overtaken"), 20, "the late end")
        wait_until(lambda: not stored_keys(runtime, job), 10, "the image to be deleted")
