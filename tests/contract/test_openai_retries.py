"""A repeated request of an OpenAI client is the same job: nothing is made, or paid for, twice."""

import base64
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest

from tests.support.api import http_post, job_id_of
from tests.support.cut_proxy import Cut, cutting_proxy
from tests.support.images_api import png, width_of
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

RUNS = 24
AT_ONCE = 6

BODY = {"prompt": "a mug", "size": "256x256", "n": 1, "response_format": "b64_json"}


@pytest.fixture
def sdk(runtime: Runtime) -> Iterator[openai.OpenAI]:
    """Give the SDK."""
    api = runtime.api
    with openai.OpenAI(api_key=api.keys["default"], base_url=f"{api.url}/v1") as sdk:
        yield sdk


def jobs_of(runtime: Runtime) -> list[dict[str, Any]]:
    """Return all jobs."""
    items: list[dict[str, Any]] = runtime.api.client.get("/v1/generations?limit=100").json()[
        "items"
    ]
    return items


def post(runtime: Runtime, body: Mapping[str, Any], **headers: str) -> httpx.Response:
    """Post a request for images as an SDK does: again where its answer ended before the job."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = runtime.api.client.post("/v1/images/generations", json=body, headers=names)
    if answer.status_code == 503 and "x-stainless-retry-count" in names:
        retries = int(names["x-stainless-retry-count"]) + 1
        return post(runtime, body, **{**headers, "x_stainless_retry_count": str(retries)})
    assert answer.status_code == 200, answer.text
    return answer


def cuts() -> list[Cut]:
    """Return moments at which a connection is cut: in the request, before and in the answer."""
    chance = random.Random(15)
    in_request = [Cut(sent_bytes=count) for count in (0, 200, 900)]
    before_answer = [Cut(after_seconds=chance.random()) for _ in range(RUNS // 2)]
    in_answer = [Cut(received_bytes=chance.randint(1, 12_000)) for _ in range(RUNS)]
    return [*in_request, *before_answer, *in_answer][:RUNS]


def make_image(runtime: Runtime, number: int, cut: Cut) -> bytes:
    """Have the SDK make an image, or edit one, over a connection that is cut."""
    wanted: Any = {"prompt": f"mug {number}", "size": "256x256"}
    with (
        cutting_proxy(runtime.api.url, cut) as url,
        openai.OpenAI(api_key=runtime.api.keys["default"], base_url=f"{url}/v1") as sdk,
    ):
        if number % 4 == 3:
            answer = sdk.images.edit(image=("mug.png", png(64, 48), "image/png"), **wanted)
        else:
            answer = sdk.images.generate(**wanted)
    [image] = answer.data or []
    return base64.b64decode(image.b64_json or "")


@pytest.mark.timeout(300)
def test_connection_that_is_cut_pays_nothing_twice(runtime: Runtime) -> None:
    """With the SDK's own retries: each request is one job and one call of the provider."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pictures = list(pool.map(make_image, [runtime] * RUNS, range(RUNS), cuts()))
    assert all(width_of(picture) == 256 for picture in pictures)
    jobs = jobs_of(runtime)
    assert sorted(job["prompt"] for job in jobs) == sorted(f"mug {n}" for n in range(RUNS))
    calls = [runtime.provider_calls(runtime.services.get(job_id_of(job))) for job in jobs]
    assert calls == [1] * RUNS
    assert len(set(pictures)) == RUNS


def test_retry_of_an_sdk_is_the_same_job(runtime: Runtime) -> None:
    """Same sender, same body; a first request always makes a job of its own."""
    first = post(runtime, BODY, x_stainless_retry_count="0")
    retry = post(runtime, dict(reversed(BODY.items())), x_stainless_retry_count="1")
    assert retry.json()["data"] == first.json()["data"]
    second = post(runtime, BODY, x_stainless_retry_count="0")
    again = post(runtime, BODY, x_stainless_retry_count="2")
    other = post(runtime, {**BODY, "prompt": "a cup"}, x_stainless_retry_count="1")
    named = [answer.headers["x-darkroom-job"] for answer in (first, retry, second, again, other)]
    assert named[0] == named[1]
    assert named[2] == named[3]
    assert len(set(named)) == len(jobs_of(runtime)) == 3


def test_retry_after_ten_minutes_is_another_job(runtime: Runtime) -> None:
    """No SDK waits so long."""
    post(runtime, BODY, x_stainless_retry_count="0")
    with runtime.database() as cursor:
        cursor.execute("UPDATE idempotency_keys SET created_at = now() - interval '601 seconds'")
    post(runtime, BODY, x_stainless_retry_count="1")
    assert len(jobs_of(runtime)) == 2


def test_retry_after_the_job_was_deleted_is_another_job(runtime: Runtime) -> None:
    """Nothing is left to answer with; only a key that the client has chosen outlives its job."""
    first = post(runtime, BODY, x_stainless_retry_count="0").headers["x-darkroom-job"]
    address = f"/v1/generations/{first}"
    api = runtime.api
    wait_until(lambda: api.client.delete(address).status_code == 204, 20, "the job to be deleted")
    retry = post(runtime, BODY, x_stainless_retry_count="1")
    assert retry.headers["x-darkroom-job"] != first
    assert len(jobs_of(runtime)) == 1


def test_idempotency_key_finds_its_job(runtime: Runtime) -> None:
    """Also of a client that is no SDK; another body with the same key is refused."""
    key = {"Idempotency-Key": str(uuid4())}
    first, second = post(runtime, BODY, **key), post(runtime, BODY, **key)
    assert first.headers["x-darkroom-job"] == second.headers["x-darkroom-job"]
    refused = runtime.api.client.post("/v1/images/generations", json={**BODY, "n": 2}, headers=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(jobs_of(runtime)) == 1


def test_edit_that_is_repeated_keeps_one_picture(runtime: Runtime) -> None:
    """Although each form has a boundary of its own."""
    files = {"image": ("mug.png", png(64, 48), "image/png")}
    form = {"prompt": "a mug", "size": "256x256"}
    for count in ("0", "1"):
        headers = {"x-stainless-retry-count": count}
        answer = runtime.api.client.post(
            "/v1/images/edits", data=form, files=files, headers=headers
        )
        assert answer.status_code == 200, answer.text
    assert len(jobs_of(runtime)) == 1
    with runtime.database() as cursor:
        cursor.execute("SELECT count(*) FROM assets")
        assert cursor.fetchone()["count"] == 1


def test_job_that_outlasts_an_answer_is_found_by_the_retry(
    runtime: Runtime, sdk: openai.OpenAI
) -> None:
    """Where an answer must end early it is a 503 that asks for the retry."""
    with ThreadPoolExecutor(1) as pool:
        with runtime.paused():
            waiting = pool.submit(sdk.images.generate, prompt="a mug", size="256x256")
            wait_until(lambda: len(jobs_of(runtime)) == 1, 20, "the request to be accepted")
            wait_until(lambda: _has_waited(runtime), 20, "an answer to take its time")
        answer = waiting.result(60)
    assert answer.data
    assert len(jobs_of(runtime)) == 1


def _has_waited(runtime: Runtime) -> bool:
    """Return whether the only job is older than an answer that cannot be streamed may take."""
    with runtime.database() as cursor:
        cursor.execute(
            "SELECT FROM generation_jobs WHERE created_at < now() - interval '5 seconds'"
        )
        return cursor.fetchone() is not None


def test_client_that_disconnects_leaves_its_job_running(runtime: Runtime) -> None:
    """Its images can be fetched by the job's id."""
    with cutting_proxy(runtime.api.url, Cut(after_seconds=0.4)) as url:
        ask = partial(http_post, f"{url}/v1/images/generations", json=BODY)
        with pytest.raises(httpx.TransportError):
            ask(headers=dict(runtime.api.client.headers))
    [job] = wait_until(lambda: jobs_of(runtime), 10, "the job to be accepted")
    assert runtime.api.finish(job)["status"] == "completed"
