"""The model of each request: named, checked, shown, filtered, and allowed per workspace."""

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from shared.imaging.providers.mock import PROVIDER
from tests.support.api import http_get
from tests.support.faults import limited
from tests.support.runtime import Runtime
from tests.support.story import outcomes

DEFAULT, SMALL = (offer.model for offer in PROVIDER.offers)


def test_a_request_names_its_model(runtime: Runtime) -> None:
    """Job, ledger, receipt and images name it; without one, the default model is asked."""
    api = runtime.api
    jobs = [api.submit("a mug", **model) for model in ({"model": SMALL}, {})]
    assert [job["model"] for job in jobs] == [SMALL, DEFAULT]
    for job, model in zip(jobs, (SMALL, DEFAULT), strict=True):
        ended = api.finish(job)
        assert (ended["model"], ended["receipt"]["models"]) == (model, [model])
        assert [line["model"] for line in ended["attempts"]] == [model]
        assert [image["model"] for image in ended["images"]] == [model]


def test_jobs_are_found_by_their_model(runtime: Runtime) -> None:
    """A job of a version that wrote it into the ledger alone shows it, and is not found by it."""
    api = runtime.api
    jobs = [api.submit("a mug", model=model) for model in (SMALL, DEFAULT, SMALL)]
    for job in jobs:
        api.finish(job)
    with runtime.database() as cursor:
        cursor.execute(
            "UPDATE generation_jobs SET provider = NULL, model = NULL WHERE id = %s",
            (jobs[0]["id"],),
        )
    found = api.client.get("/v1/generations", params={"model": SMALL}).json()["items"]
    assert [(job["id"], job["model"]) for job in found] == [(jobs[2]["id"], SMALL)]
    assert api.get(jobs[0])["model"] == SMALL
    assert api.client.get("/v1/generations", params={"model": "gpt-9"}).json()["items"] == []


@pytest.mark.parametrize(
    ("order", "line"),
    [
        ({"model": "gpt-9"}, f"model: must be one of {DEFAULT}, {SMALL}"),
        ({"model": SMALL, "size": "1024x1024"}, f"size: {SMALL} offers 256x256, 512x512"),
        ({"model": SMALL, "quality": "high"}, f"quality: {SMALL} offers no choice"),
        ({"size": "1000x1000"}, f"size: {DEFAULT} offers 256x256"),
        ({"output_compression": 5}, "output_compression: needs output_format jpeg or webp"),
        ({"model": SMALL, "n": 3}, f"n: {SMALL} makes at most 2 images"),
    ],
)
def test_what_the_model_does_not_offer_is_refused(
    runtime: Runtime, order: dict[str, Any], line: str
) -> None:
    """With what it offers, and before a job is accepted."""
    body = {"prompt": "a mug", "size": "256x256", **order}
    answer = runtime.api.client.post("/v1/generations", json=body)
    assert runtime.api.problem(answer) == (422, "invalid_request")
    assert answer.json()["detail"].startswith(line)


def test_a_workspace_asks_for_its_own_models(runtime: Runtime) -> None:
    """What may be asked for is listed; the default model is none of them by itself."""
    api = runtime.api
    with limited(runtime, models=[SMALL]):
        listed = api.client.get("/v1/models").json()["data"]
        assert [model["id"] for model in listed] == [SMALL]
        for body in ({"prompt": "a mug"}, {"prompt": "a mug", "model": DEFAULT}):
            answer = api.client.post("/v1/generations", json=body)
            assert api.problem(answer) == (422, "invalid_request")
            assert f"may ask for {SMALL}" in answer.json()["detail"]
        assert api.finish(api.submit("a mug", model=SMALL))["status"] == "completed"
    listed = api.client.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == [DEFAULT, SMALL]


def test_a_foreign_row_names_its_model(runtime: Runtime) -> None:
    """In its params; one that does not exist fails the job before any call."""
    rows = [
        runtime.write_row({"prompt": "a mug", "size": "256x256", "model": model})
        for model in (SMALL, "gpt-9")
    ]
    for job in rows:
        runtime.dispatch(job)
    assert [line["model"] for line in runtime.finish(rows[0]).attempts] == [SMALL]
    failed = runtime.finish(rows[1])
    assert outcomes(failed) == ["failed"]
    assert failed.job["error"]["code"] == "invalid_request"
    assert failed.attempts[0]["charge_state"] == "none"


def test_the_form_of_the_images_is_chosen(runtime: Runtime) -> None:
    """Format, background and quality are shown in the job, and seen in its images."""
    form = {"output_format": "webp", "background": "transparent", "quality": "high"}
    ended = runtime.api.finish(runtime.api.submit("a mug", **form))
    assert {name: ended[name] for name in form} == form
    [image] = ended["images"]
    assert image["media_type"] == "image/webp"
    data = http_get(f"{runtime.api.url}{image['url']}").content
    with Image.open(BytesIO(data)) as picture:
        assert picture.mode == "RGBA"
