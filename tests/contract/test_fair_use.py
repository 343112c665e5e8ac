"""What a workspace may ask for: priorities, limits, pauses, a start in time, its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.access.api_keys import ApiKeyStore
from shared.imaging.request import Priority
from shared.jobs.workspace_limits import LimitStore
from shared.status import QUEUED, failed
from tests.support.api import OTHER_WORKSPACE, PATIENCE_SECONDS, SMALL
from tests.support.faults import limited, paused_provider
from tests.support.runtime import SLOTS, Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until

TOO_LATE = "Cancelled: not started in time"


def test_jobs_start_in_the_order_of_their_priorities(runtime: Runtime) -> None:
    """However late a high one came; equal ones by age."""
    order: list[Priority] = ["low", "normal", "normal", "high"]
    with limited(runtime, running_jobs=1):
        with paused_provider(runtime):
            jobs = [runtime.submit("a mug", priority=priority) for priority in order]
        started = [runtime.finish(job).attempts[0]["started_at"] for job in jobs]
    assert sorted(started) == [started[3], started[1], started[2], started[0]]


def test_a_waiting_job_shows_its_place(runtime: Runtime) -> None:
    """From 1, behind all that start before it; no longer once it runs or has ended."""
    api = runtime.api
    with paused_provider(runtime):
        jobs = [api.submit("a mug", priority=priority) for priority in ("normal", "low", "high")]
        places = [api.get(job)["queue"] for job in jobs]
        assert [place["position"] for place in places] == [2, 3, 1]
        assert [place["estimated_start_at"] for place in places] == [None] * 3
        assert [api.get(job)["priority"] for job in jobs] == ["normal", "low", "high"]
    assert [api.finish(job)["queue"] for job in jobs] == [None] * 3


def test_a_place_has_a_time_once_jobs_have_run(runtime: Runtime) -> None:
    """From the run times of those that ended."""
    api = runtime.api
    api.finish(api.submit("a mug"))
    running = [api.submit("a mug [[slow:2]]") for _ in range(SLOTS)]
    waiting = [api.submit("a mug") for _ in range(2 * SLOTS)]
    queue = api.get(waiting[-1])["queue"]
    assert queue["position"] > SLOTS
    assert queue["estimated_start_at"] > waiting[-1]["created_at"]
    for job in (*running, *waiting):
        assert api.finish(job)["status"] == "completed"


def test_a_job_that_cannot_start_in_time_is_cancelled(runtime: Runtime) -> None:
    """It never starts, not even when a slot is free a moment later."""
    with paused_provider(runtime):
        job = runtime.submit("a mug", start_within_seconds=1)
        rows = runtime.finish(job)
    assert (rows.job["status"], rows.job["error"]["code"]) == ("FAILED", "cancelled")
    assert rows.job["finished_at"] >= rows.job["start_by"]
    assert runtime.steps(job) == [QUEUED, failed(0, TOO_LATE)]
    assert outcomes(rows) == []


def test_a_job_that_started_in_time_may_be_retried_later(runtime: Runtime) -> None:
    """Only its first start counts."""
    job = runtime.submit("a mug [[rate-limit:2.5]]", start_within_seconds=2)
    assert outcomes(runtime.finish(job)) == ["failed", "completed"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"priority": "urgent"}, "priority"),
        ({"priority": 1}, "priority"),
        ({"start_within_seconds": 0}, "start_within_seconds"),
        ({"start_within_seconds": 1.5}, "start_within_seconds"),
        ({"start_within_seconds": 10**7}, "start_within_seconds"),
    ],
)
def test_a_wrong_order_is_refused(runtime: Runtime, body: dict[str, Any], field: str) -> None:
    """Before anything was accepted."""
    answer = runtime.api.client.post("/v1/generations", json={"prompt": "a mug", **body})
    assert runtime.api.problem(answer) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_every_submission_says_what_is_left(runtime: Runtime) -> None:
    """RateLimit-Policy names the limits of the workspace, RateLimit what remains of each."""
    api = runtime.api
    with limited(runtime, open_jobs=20, submissions_per_minute=3), paused_provider(runtime):
        answers = [
            api.client.post("/v1/generations", json={"prompt": "a mug", **SMALL}) for _ in range(4)
        ]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
        assert api.problem(answers[3]) == (429, "too_many_submissions")
        for answer in answers[:3]:
            policy = '"open-jobs";q=20, "submissions";q=3;w=60'
            assert answer.headers["ratelimit-policy"] == policy
        left = [answer.headers["ratelimit"].rpartition(";t=")[0] for answer in answers]
        assert left[0] == '"open-jobs";r=19, "submissions";r=2'
        assert left[2:] == ['"open-jobs";r=17, "submissions";r=0', '"submissions";r=0']
        seconds = int(answers[3].headers["retry-after"])
        assert answers[3].headers["ratelimit"] == f'"submissions";r=0;t={seconds}'
        assert 1 <= seconds <= 60
        with api.client_of(OTHER_WORKSPACE) as other:
            answer = other.post("/v1/generations", json={"prompt": "a mug", **SMALL})
        assert (answer.status_code, answer.headers["ratelimit"]) == (202, '"open-jobs";r=499')


def test_an_api_key_sends_so_many_requests_a_minute(runtime: Runtime) -> None:
    """Whatever they are; each answer says what is left, and other keys have their own."""
    api = runtime.open_api
    with key_client(runtime, "counted") as client, key_client(runtime, "other") as other:
        answers = [client.get("/v1/generations")]
        # On a busy machine the rest may take longer than a minute.
        for name in runtime.redis_client.scan_iter("api_requests:*"):
            runtime.redis_client.expire(name, 600)
        paths = [f"/v1/assets/{uuid4()}", "/v1/models", "/v1/nothing"]
        answers += [client.get(path) for path in paths]
        answers.append(client.post("/v1/generations", json={"prompt": "a mug", **SMALL}))
        assert [answer.status_code for answer in answers] == [200, 404, 200, 404, 202]
        left = [answer.headers.get("ratelimit", "").partition(";t=")[0] for answer in answers]
        # A path that leads nowhere asks for no key.
        assert left[:4] == ['"requests";r=4', '"requests";r=3', '"requests";r=2', ""]
        policies = answers[4].headers["ratelimit-policy"]
        assert policies == '"open-jobs";q=3, "requests";q=5;w=60'
        assert answers[4].headers["ratelimit"].startswith('"open-jobs";r=2, "requests";r=1;t=')
        client.get("/v1/generations")
        refused = client.get("/v1/generations")
        assert api.problem(refused) == (429, "too_many_requests")
        seconds = int(refused.headers["retry-after"])
        assert 1 <= seconds <= 600
        assert refused.headers["ratelimit"] == f'"requests";r=0;t={seconds}'
        assert client.get("/v1/models").json()["error"]["code"] == "rate_limit_exceeded"
        assert other.get("/v1/generations").status_code == 200
        assert api.client.get("/v1/generations").status_code == 200


def test_requests_of_a_key_are_counted_while_redis_is_unavailable(runtime: Runtime) -> None:
    """By each process for itself."""
    with key_client(runtime, "counted") as client:
        runtime.redis.kill()
        assert client.get("/v1/generations").headers["ratelimit"].startswith('"requests";r=4')
        answers = (client.get("/v1/generations") for _ in range(100))
        assert any(answer.status_code == 429 for answer in answers)
        runtime.redis.start()


@contextmanager
def key_client(runtime: Runtime, name: str) -> Iterator[httpx.Client]:
    """Give a client of the API without keys that sends a new one of the workspace `default`."""
    store = ApiKeyStore(runtime.services.engine)
    key, text = store.create("default", name)
    headers = {"Authorization": f"Bearer {text}"}
    url = runtime.open_api.url
    with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_SECONDS) as client:
        yield client
    store.revoke(key.id)


def test_open_jobs_of_one_workspace_may_be_fewer(runtime: Runtime) -> None:
    """Its own limit holds from the next request on."""
    api = runtime.api
    with limited(runtime, open_jobs=1), paused_provider(runtime):
        api.submit("a mug")
        answer = api.client.post("/v1/generations", json={"prompt": "a mug", **SMALL})
        assert api.problem(answer) == (429, "too_many_open_jobs")
        assert answer.headers["ratelimit-policy"] == '"open-jobs";q=1'


def test_a_workspace_runs_as_many_jobs_as_it_may(runtime: Runtime) -> None:
    """The next one starts when one has ended, although slots are free."""
    with limited(runtime, running_jobs=1):
        jobs = [runtime.submit("a mug [[slow:0.3]]") for _ in range(4)]
        attempts = [runtime.finish(job).attempts[0] for job in jobs]
    attempts.sort(key=lambda attempt: attempt["started_at"])
    for one, next_one in pairwise(attempts):
        assert one["finished_at"] <= next_one["started_at"]


def test_a_paused_workspace_is_accepted_and_waits(runtime: Runtime) -> None:
    """Another one's jobs go on; all of them run after the pause."""
    limits = LimitStore(runtime.services.engine)
    assert OTHER_WORKSPACE in runtime.api.keys
    limits.pause("default")
    try:
        jobs = [runtime.submit("a mug") for _ in range(SLOTS + 1)]
        other = runtime.submit("a mug", workspace_id=OTHER_WORKSPACE)
        assert outcomes(runtime.finish(other)) == ["completed"]
        assert [runtime.rows(job).job["attempt"] for job in jobs] == [0] * len(jobs)
    finally:
        limits.resume("default")
    for job in jobs:
        assert outcomes(runtime.finish(job)) == ["completed"]


def test_a_pause_holds_back_jobs_that_were_sent_already(runtime: Runtime) -> None:
    """From its command on no attempt begins; running ones go on."""
    limits = LimitStore(runtime.services.engine)
    running = [runtime.submit("a mug [[slow:1]]") for _ in range(SLOTS)]
    for job in running:
        runtime.wait_for_step(job, 10)
    sent = runtime.submit("a mug")
    wait_until(lambda: runtime.rows(sent).job["dispatched_at"], 10, "the envelope to be sent")
    limits.pause_provider("mock")
    try:
        for job in running:
            assert outcomes(runtime.finish(job)) == ["completed"]
        wait_until(
            lambda: runtime.rows(sent).job["dispatched_at"] is None, 20, "the job to be in its row"
        )
        assert runtime.rows(sent).attempts == []
    finally:
        limits.resume_provider("mock")
    assert outcomes(runtime.finish(sent)) == ["completed"]
