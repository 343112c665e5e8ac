"""Servers that are down, frozen, emptied or cut off while a job runs: it is late at worst."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from shared.jobs.model import Job
from shared.status import COMPLETED
from tests.support.api import Api
from tests.support.faults import (
    cut_database_connections,
    cut_redis_connections,
    other_settings,
)
from tests.support.runtime import Rows, Runtime
from tests.support.story import PLAIN, lines_of, outcomes, storage_keys
from tests.support.wait import wait_until

READ_SECONDS = 0.5
"""Half of the timeout of a connection to Redis."""

FROZEN_REDIS_COSTS_AT_MOST_SECONDS = 3.5
"""One event is sent twice, with a timeout of a second each; two events would cost four seconds."""


def test_job_completes_while_redis_is_down(runtime: Runtime) -> None:
    """Last event and record appear once Redis is back."""
    job = runtime.submit("a red mug [[slow:1]]")
    runtime.wait_for_step(job, 10)
    runtime.redis.kill()
    rows = wait_for_completion(runtime, job)
    assert rows.job["announced_at"] is None
    runtime.redis.start()
    runtime.finish(job)
    assert_completed_once(runtime, job)


def test_frozen_redis_slows_a_job_by_bounded_time_only(runtime: Runtime) -> None:
    """One event waits for its timeout, those after it are kept back: the job completes."""
    job = runtime.submit("a red mug")
    runtime.wait_for_step(job, 70)
    runtime.redis.pause()
    rows = wait_for_completion(runtime, job)
    runtime.redis.resume()
    took = rows.job["finished_at"] - rows.job["started_at"]
    assert took.total_seconds() < FROZEN_REDIS_COSTS_AT_MOST_SECONDS
    runtime.finish(job)
    assert_completed_once(runtime, job)


def test_the_api_reads_and_submits_while_redis_is_frozen(runtime: Runtime) -> None:
    """Reads need no Redis; what is accepted runs once it is back."""
    api = runtime.api
    job = api.finish(api.submit("a red mug"))
    runtime.redis.pause()
    try:
        accepted = [api.submit("a red mug") for _ in range(3)]
        seconds = sorted(read_seconds(api, job) for _ in range(20))
    finally:
        runtime.redis.resume()
    assert seconds[10] < READ_SECONDS
    for each in accepted:
        assert api.finish(each)["status"] == "completed"


def test_follower_of_a_job_receives_its_end_although_redis_was_emptied(runtime: Runtime) -> None:
    """FLUSHALL takes stream, fence, record and the queue; end and record come all the same."""
    job = runtime.submit("a red mug [[slow:1]]")
    with ThreadPoolExecutor(max_workers=1) as executor:
        following = executor.submit(lambda: list(runtime.services.follow(job.id)))
        runtime.wait_for_step(job, 30)
        runtime.redis_client.flushall()
        runtime.finish(job)
        events = following.result(timeout=30)
    assert_completed_once(runtime, job)
    steps = [event.step for event in events]
    assert steps == [step for step in PLAIN if step in steps]
    assert steps[-1] == COMPLETED
    assert outcomes(runtime.finish(runtime.submit("a blue mug"))) == ["completed"]


def test_job_that_cannot_be_claimed_without_database_runs_when_it_is_back(
    runtime: Runtime,
) -> None:
    """The envelope comes again by itself, and no attempt was used."""
    job = runtime.accept("a red mug")
    before = len(lines_saying(runtime, "delivered again"))
    runtime.postgres.kill()
    runtime.dispatch(job)
    wait_until(
        lambda: len(lines_saying(runtime, "delivered again")) > before, 20, "a claim to fail"
    )
    runtime.postgres.start()
    runtime.finish(job)
    assert_completed_once(runtime, job)
    assert runtime.steps(job) == PLAIN


def test_pictures_made_while_the_database_is_down_are_not_made_again(runtime: Runtime) -> None:
    """The finish is repeated until PostgreSQL takes it; the provider is called once."""
    with other_settings(runtime, SOFT_TIME_LIMIT="40", TIME_LIMIT="45"):
        job = runtime.submit("a red mug [[slow:2]]", n=2)
        runtime.wait_for_step(job, 30)
        with runtime.frozen_worker(job):
            runtime.postgres.kill()
        wait_until(lambda: lines_of(runtime, job, "write repeated"), 20, "the finish to fail")
        runtime.postgres.start()
        rows = runtime.finish(job)
    assert rows.job["status"] == "COMPLETED"
    assert runtime.provider_calls(job) == 1
    assert storage_keys(rows) == [f"{job.id}/1/0", f"{job.id}/1/1"]


def test_job_survives_the_loss_of_all_database_connections(runtime: Runtime) -> None:
    """Idle or not, each is made anew; nothing is done twice."""
    job = runtime.submit("a red mug [[slow:0.5]]")
    runtime.wait_for_step(job, 30)
    cut_database_connections(runtime)
    runtime.wait_for_step(job, 70)
    cut_database_connections(runtime)
    runtime.finish(job)
    assert_completed_once(runtime, job)
    assert runtime.steps(job) == PLAIN


def test_job_survives_the_loss_of_all_redis_connections(runtime: Runtime) -> None:
    """The broker may deliver it again: the copy changes nothing, the provider is called once."""
    job = runtime.submit("a red mug [[slow:1.5]]")
    runtime.wait_for_step(job, 30)
    cut_redis_connections(runtime)
    runtime.finish(job)
    assert_completed_once(runtime, job)
    assert runtime.steps(job) == PLAIN
    assert outcomes(runtime.finish(runtime.submit("a blue mug"))) == ["completed"]


def test_image_store_that_refuses_an_image_is_tried_by_another_attempt(runtime: Runtime) -> None:
    """With what the system said; the disk was full or read-only, say."""
    job = runtime.accept("a red mug")
    obstacle = runtime.image_dir / str(job.id)
    runtime.image_dir.mkdir(exist_ok=True)
    obstacle.write_text("no folder")
    runtime.dispatch(job)

    def error_of_first() -> dict[str, object] | None:
        rows = runtime.rows(job)
        return rows.attempts[0]["error"] if rows.attempts else None

    error = wait_until(error_of_first, 20, "the first attempt to fail")
    assert error["code"] == "storage_unavailable"
    assert str(error["message"]).endswith("Not a directory")
    assert runtime.rows(job).job["status"] in ("PENDING", "PROCESSING")
    obstacle.unlink()
    rows = runtime.finish(job)
    assert rows.job["status"] == "COMPLETED"
    assert outcomes(rows)[0] == "failed"


def test_postgresql_that_hangs_holds_up_no_answer(runtime: Runtime) -> None:
    """Clients get 503 within seconds, the next time at once, and a worker stops when asked to."""
    api = runtime.api
    client = httpx.Client(base_url=api.url, headers=api.client.headers, timeout=60)

    def submit(_number: int) -> str:
        order = {"prompt": "a red mug [[slow:0.3]]"}
        answer = client.post("/v1/generations", json=order, headers={"Prefer": "wait=10"})
        return str(answer.json()["urls"]["self"])

    def ask(address: str) -> list[httpx.Response]:
        return [client.get(address) for _ in range(4)]

    with client, ThreadPoolExecutor(3) as pool:
        # Each request holds a Lambda sandbox of its own, which is warm from now on.
        addresses = list(pool.map(submit, range(3)))
        running = runtime.submit("a blue mug [[slow:0.5]]")
        runtime.wait_for_step(running, 30)
        runtime.postgres.pause()
        try:
            answers = list(pool.map(ask, addresses))
            began_at = time.monotonic()
            runtime.stop()
            seconds_to_stop = time.monotonic() - began_at
        finally:
            runtime.postgres.resume()
            runtime.start()
    assert {answer.status_code for four in answers for answer in four} == {503}
    assert max(sum(answer.elapsed.total_seconds() for answer in four) for four in answers) < 12
    assert seconds_to_stop < runtime.settings.shutdown_grace_seconds + 12
    error = runtime.finish(running).job["error"]
    assert error is None or error["code"] == "time_limit"


def test_job_submitted_while_the_queue_is_down_is_accepted_and_runs_later(
    runtime: Runtime,
) -> None:
    """The row is the outbox: the sweep dispatches it once the queue's server is back."""
    runtime.queue_server.kill()
    job = runtime.submit("a red mug")
    assert runtime.rows(job).job["status"] == "PENDING"
    runtime.queue_server.start()
    runtime.finish(job)
    assert_completed_once(runtime, job)
    assert runtime.steps(job) == PLAIN


def read_seconds(api: Api, job: dict[str, Any]) -> float:
    """Return how long it takes to read a job."""
    began_at = time.monotonic()
    assert api.get(job)["status"] == "completed"
    return time.monotonic() - began_at


def wait_for_completion(runtime: Runtime, job: Job) -> Rows:
    """Return the rows of a job that has completed, announced or not."""

    def completed() -> Rows | None:
        rows = runtime.rows(job)
        return rows if rows.job["status"] == "COMPLETED" else None

    return wait_until(completed, 20, f"job {job.id} to complete")


def assert_completed_once(runtime: Runtime, job: Job) -> None:
    """One attempt, one provider call, its picture, the last event and the record."""
    rows = runtime.rows(job)
    assert rows.job["status"] == "COMPLETED"
    assert outcomes(rows) == ["completed"]
    assert storage_keys(rows) == [f"{job.id}/1/0"]
    assert runtime.steps(job)[-1] == COMPLETED
    record = runtime.record(job)
    assert record is not None
    assert record["status"] == "SUCCESS"


def lines_saying(runtime: Runtime, event: str) -> list[object]:
    """Return the log lines that say this, of whatever job."""
    return [line for line in runtime.log_lines() if line.get("event") == event]
