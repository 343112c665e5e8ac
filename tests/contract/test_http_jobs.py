"""Jobs over HTTP: submitted, read, listed, cancelled, waited for, repeated, refused."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.api import http_get, http_post
from tests.support.runtime import Runtime
from tests.support.wait import wait_until


def test_job_goes_from_post_to_pictures(runtime: Runtime) -> None:
    """202 with its place, then its end, with signed addresses of the very bytes."""
    api = runtime.api
    answer = api.client.post(
        "/v1/generations",
        json={"prompt": "a red mug", "size": "256x256", "n": 2, "metadata": {"order": "7"}},
    )
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == job["urls"]["self"] == f"/v1/generations/{job['id']}"
    assert (job["status"], job["progress"], job["message"]) == ("pending", 0, "Queued")
    assert (job["metadata"], job["images"], job["attempt"]) == ({"order": "7"}, [], 0)
    done = api.finish(job)
    assert (done["status"], done["progress"], done["missing"]) == ("completed", 100, 0)
    assert [image["position"] for image in done["images"]] == [0, 1]
    assert [line["outcome"] for line in done["attempts"]] == ["completed"]
    assert done["attempts"][0]["charge_state"] == "none"
    for image in done["images"]:
        picture = http_get(api.url + image["url"])
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
        assert hashlib.sha256(picture.content).hexdigest() == image["sha256"]
        assert len(picture.content) == image["size_bytes"]
        saved = http_get(f"{api.url}{image['url']}&download=1")
        assert saved.headers["content-disposition"].startswith("attachment; filename=")


def test_job_that_waits_for_a_retry_says_why_and_until_when(runtime: Runtime) -> None:
    """The reason, which attempt of how many, and when; all of it is gone with the end."""
    api = runtime.api
    job = api.submit("a mug [[rate-limit:3]]")

    def waiting() -> dict[str, Any] | None:
        found = api.get(job)
        return found if found["retry"] else None

    found = wait_until(waiting, 20, "the job to wait for its second attempt")
    assert found["status"] == "pending"
    assert found["message"] == "Retrying (attempt 2 of 3)"
    retry = found["retry"]
    assert (retry["attempt"], retry["max_attempts"], retry["code"]) == (2, 3, "rate_limited")
    assert retry["reason"] == found["error"]["message"]
    assert retry["next_attempt_at"] == found["next_attempt_at"] > found["created_at"]
    done = api.finish(job)
    assert (done["status"], done["retry"], done["next_attempt_at"]) == ("completed", None, None)
    assert [line["outcome"] for line in done["attempts"]] == ["failed", "completed"]


def test_failed_job_says_why(runtime: Runtime) -> None:
    """With the structured error of its row."""
    job = runtime.api.finish(runtime.api.submit("a mug [[reject]]"))
    assert (job["status"], job["images"]) == ("failed", [])
    assert job["error"]["code"] == "prompt_rejected"
    assert job["error"]["message"] == job["message"]
    assert job["finished_at"] is not None


def test_prefer_wait_answers_with_the_end(runtime: Runtime) -> None:
    """200 if it came in time, 202 if not; a header says that the preference was applied."""
    api = runtime.api
    order = {"prompt": "a mug", "size": "256x256"}
    answer = api.client.post("/v1/generations", json=order, headers={"Prefer": "wait=20"})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.headers["preference-applied"] == "wait=20"
    assert len(answer.json()["images"]) == 1
    order["prompt"] = "a mug [[hang]]"
    answer = api.client.post("/v1/generations", json=order, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["finished_at"]) == (202, None)
    job = api.client.get(answer.json()["urls"]["self"], headers={"Prefer": "wait=20"})
    assert job.json()["error"]["code"] == "soft_time_limit"


def test_cancel_over_http(runtime: Runtime) -> None:
    """A waiting job ends at once, a running one at its next step; an ended one stays."""
    api = runtime.api
    with runtime.paused():
        job = api.submit("a mug")
        answer = api.client.post(job["urls"]["cancel"])
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, "cancelled")
    job = api.submit("a mug [[hang]]")
    wait_until(lambda: api.get(job)["progress"] >= 5, 20, "the job to run")
    answer = api.client.post(job["urls"]["cancel"])
    assert answer.status_code in (200, 202)
    assert answer.json()["cancel_requested_at"] is not None
    assert api.finish(job)["error"]["code"] == "cancelled"
    answer = api.client.post(job["urls"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")


def test_same_idempotency_key_and_body_give_the_same_job(runtime: Runtime) -> None:
    """Also when they come at once; another body is refused."""
    api = runtime.api
    order = {"prompt": "a mug", "size": "256x256"}
    key = {"Idempotency-Key": str(uuid4())}

    def post(_number: int) -> httpx.Response:
        return http_post(
            f"{api.url}/v1/generations", json=order, headers={**api.client.headers, **key}
        )

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    same = dict(reversed([*order.items(), ("n", 1)]))
    again = api.client.post("/v1/generations", json=same, headers=key)
    assert again.json()["id"] == answers[0].json()["id"]
    other = api.client.post("/v1/generations", json={**order, "n": 2}, headers=key)
    assert api.problem(other) == (422, "idempotency_key_reused")
    api.finish(answers[0].json())
    assert post(0).json()["status"] == "completed"
    assert len(api.client.get("/v1/generations").json()["items"]) == 1


def test_idempotency_key_outlives_its_job(runtime: Runtime) -> None:
    """A client that repeats its request late must not pay for the job again."""
    api = runtime.api
    order, key = {"prompt": "a mug", "size": "256x256"}, {"Idempotency-Key": str(uuid4())}
    job = api.client.post("/v1/generations", json=order, headers=key).json()
    api.finish(job)
    wait_until(lambda: runtime.job_is_announced(job), 20, "the end to be announced")
    assert api.client.delete(job["urls"]["self"]).status_code == 204
    again = api.client.post("/v1/generations", json=order, headers=key)
    assert api.problem(again) == (410, "job_deleted")
    other = api.client.post("/v1/generations", json={**order, "n": 2}, headers=key)
    assert api.problem(other) == (422, "idempotency_key_reused")
    assert api.client.get("/v1/generations").json()["items"] == []


def test_idempotency_key_is_free_again_after_a_day(runtime: Runtime) -> None:
    """It then makes a new job, whatever the body."""
    api = runtime.api
    key = {"Idempotency-Key": "once-a-day"}
    order = {"prompt": "a mug", "size": "256x256"}
    first = api.client.post("/v1/generations", json=order, headers=key).json()
    with runtime.database() as cursor:
        cursor.execute("UPDATE idempotency_keys SET created_at = now() - interval '86401 seconds'")
    answer = api.client.post("/v1/generations", json={**order, "n": 2}, headers=key)
    assert answer.status_code == 202
    assert answer.json()["id"] != first["id"]


def test_jobs_are_listed_newest_first_in_stable_pages(runtime: Runtime) -> None:
    """What comes meanwhile moves nothing; filters hold over all pages."""
    api = runtime.api
    with runtime.paused():
        jobs = [api.submit(f"mug {number}") for number in range(5)]
        page = api.client.get("/v1/generations", params={"limit": 2}).json()
        api.submit("a late mug")
        seen = [job["prompt"] for job in page["items"]]
        while page["next_cursor"]:
            params = {"limit": 2, "cursor": page["next_cursor"]}
            page = api.client.get("/v1/generations", params=params).json()
            seen += [job["prompt"] for job in page["items"]]
        assert seen == ["mug 4", "mug 3", "mug 2", "mug 1", "mug 0"]
        api.client.post(jobs[0]["urls"]["cancel"])
        failed = api.client.get("/v1/generations", params={"status": "failed"}).json()
        assert [job["prompt"] for job in failed["items"]] == ["mug 0"]
        times = {"created_after": jobs[1]["created_at"], "created_before": jobs[4]["created_at"]}
        between = api.client.get("/v1/generations", params=times).json()["items"]
        assert [job["prompt"] for job in between] == ["mug 3", "mug 2"]
        of_product = api.client.get("/v1/generations", params={"product_id": "cup"}).json()
        assert of_product == {"items": [], "next_cursor": None}
    wrong = api.client.get("/v1/generations", params={"cursor": "bm90IGEgY3Vyc29y"})
    assert api.problem(wrong) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"prompt": "a\u0000b"}, "prompt"),
        ({"prompt": "a mug", "n": 0}, "n"),
        ({"prompt": "a mug", "n": 11}, "n"),
        ({"prompt": "a mug", "n": "2"}, "n"),
        ({"prompt": "a mug", "style": "baroque"}, "style"),
        ({"prompt": "a mug", "size": "1x1"}, "size"),
        ({"prompt": "a mug", "seed": -1}, "seed"),
        ({"prompt": "a mug", "workspace_id": "other-shop"}, "workspace_id"),
        ({"prompt": "a mug", "metadata": {"a": 1}}, "metadata.a"),
    ],
)
def test_wrong_field_is_named(runtime: Runtime, body: dict[str, Any], field: str) -> None:
    """422, before anything was accepted."""
    answer = runtime.api.client.post("/v1/generations", json=body)
    assert runtime.api.problem(answer) == (422, "invalid_request")
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_product_that_does_not_exist_is_refused(runtime: Runtime) -> None:
    """By the database itself."""
    order = {"prompt": "a mug", "product_id": "no-such-cup"}
    answer = runtime.api.client.post("/v1/generations", json=order)
    assert runtime.api.problem(answer) == (422, "invalid_request")
    assert "no-such-cup" in answer.json()["detail"]


def test_what_is_no_request_is_refused_with_a_problem(runtime: Runtime) -> None:
    """Bad JSON, another media type, a huge body, an unknown path, a wrong method."""
    api = runtime.api
    json_type = {"Content-Type": "application/json"}
    post = api.client.post
    answers = {
        (400, "malformed_json"): post("/v1/generations", content=b"{", headers=json_type),
        (415, "unsupported_media_type"): post("/v1/generations", data={"prompt": "a mug"}),
        (413, "payload_too_large"): post(
            "/v1/generations", content=b" " * 300_000, headers=json_type
        ),
        (404, "not_found"): api.client.get("/v1/nothing"),
        (405, "method_not_allowed"): api.client.delete("/v1/generations"),
    }
    for expected, answer in answers.items():
        assert api.problem(answer) == expected
    assert api.problem(api.client.get(f"/v1/generations/{uuid4()}")) == (404, "not_found")


def test_open_jobs_of_a_workspace_are_limited(runtime: Runtime) -> None:
    """Exactly, also when requests race; 429 says when to come back, and an end makes room."""
    api = runtime.open_api
    with runtime.paused(), ThreadPoolExecutor(6) as pool:
        order = {"prompt": "a mug", "size": "256x256"}
        answers = list(
            pool.map(lambda _: http_post(f"{api.url}/v1/generations", json=order), range(6))
        )
        accepted = [answer.json() for answer in answers if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert len(accepted) == 3
        assert {api.problem(answer) for answer in refused} == {(429, "too_many_open_jobs")}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        api.client.post(accepted[0]["urls"]["cancel"])
        assert api.client.post("/v1/generations", json=order).status_code == 202


def test_options_list_what_a_request_may_ask_for(runtime: Runtime) -> None:
    """A page needs no list of its own: of sizes, of statuses, or of what errors mean."""
    options = runtime.api.client.get("/v1/options").json()
    assert options["default_size"] in options["sizes"]
    assert options["default_style"] in [style["id"] for style in options["styles"]]
    final = {status["status"]: status["is_final"] for status in options["statuses"]}
    assert final == {"pending": False, "processing": False, "completed": True, "failed": True}
    assert all(status["title"] for status in options["statuses"])
    assert "[[fail:1]]" in [script["tag"] for script in options["scripts"]]
    failed = runtime.api.finish(runtime.api.submit("a mug [[reject]]"))
    [error] = [each for each in options["errors"] if each["code"] == failed["error"]["code"]]
    assert error == {**error, "title": "The prompt was rejected", "retryable": False}


def test_every_style_can_be_asked_for(runtime: Runtime) -> None:
    """By the name that the options list, and the scripts of the mock provider by their tags."""
    options = runtime.api.client.get("/v1/options").json()
    names = [style["id"] for style in options["styles"]]
    assert options["default_style"] == "studio-white"
    assert {"studio-white", "lifestyle", "flat-lay"} <= set(names)
    tags = [script["tag"] for script in options["scripts"]]
    assert {"[[fail:1]]", "[[reject]]", "[[hang]]", "[[block]]", "[[preview]]"} <= set(tags)
    for name in names:
        order = {"prompt": "a mug", "size": "256x256", "style": name}
        assert runtime.api.client.post("/v1/generations", json=order).status_code == 202
