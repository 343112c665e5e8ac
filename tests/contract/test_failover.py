"""Several models in an order: the next one is tried where the one before has cost nothing."""

from typing import Any

import pytest

from shared.imaging.providers.mock import PROVIDER
from tests.support.api import SMALL
from tests.support.faults import limited
from tests.support.runtime import Runtime
from tests.support.story import outcomes

DEFAULT, MINI = (offer.model for offer in PROVIDER.offers)
BOTH = [MINI, DEFAULT]
ORDER = {"prompt": "a mug", **SMALL}


def test_the_next_model_is_tried_where_the_provider_is_to_blame(runtime: Runtime) -> None:
    """Also where another attempt with the first one could not help; all that is shown says so."""
    api = runtime.api
    tags = ("quota:1", "bad-key:1", "overloaded:1", "bad-request:1")
    jobs = [api.submit(f"a mug [[{tag}]]", models=BOTH) for tag in tags]
    assert [(job["model"], job["models"]) for job in jobs] == [(MINI, BOTH)] * len(jobs)
    for job in jobs:
        ended = api.finish(job)
        assert (ended["status"], ended["model"], ended["models"]) == ("completed", DEFAULT, BOTH)
        assert [line["model"] for line in ended["attempts"]] == BOTH
        assert [line["charge_state"] for line in ended["attempts"]] == ["none", "none"]
        assert ended["receipt"]["models"] == BOTH
        assert [image["model"] for image in ended["images"]] == [DEFAULT]


def test_the_last_model_is_tried_as_one_that_stands_alone(runtime: Runtime) -> None:
    """Again where that may help, and not where it cannot."""
    jobs = {
        "overloaded": [MINI, DEFAULT, DEFAULT],
        "quota": BOTH,
    }
    for tag, models in jobs.items():
        rows = runtime.finish(runtime.submit(f"a mug [[{tag}]]", models=BOTH))
        assert rows.job["status"] == "FAILED"
        assert [line["model"] for line in rows.attempts] == models


def test_what_the_order_or_the_images_are_to_blame_for_stays_with_the_model(
    runtime: Runtime,
) -> None:
    """No other provider is asked for what one has refused to show."""
    api = runtime.api
    for tag, status in (("reject", "failed"), ("output-rejected:1", "completed")):
        ended = api.finish(api.submit(f"a mug [[{tag}]]", models=BOTH))
        assert (ended["status"], ended["receipt"]["models"]) == (status, [MINI])


@pytest.mark.parametrize(
    ("order", "line"),
    [
        ({"models": BOTH, "model": MINI}, "models must not come with model"),
        ({"models": [MINI, MINI]}, "models must not name a model twice"),
        ({"models": []}, "models list should have at least 1 item"),
        ({"models": [DEFAULT, "gpt-9"]}, f"model: must be one of {DEFAULT}, {MINI}"),
        ({"models": [DEFAULT, MINI], "n": 3}, f"n: {MINI} makes at most 2 images"),
    ],
)
def test_every_model_of_an_order_is_checked(
    runtime: Runtime, order: dict[str, Any], line: str
) -> None:
    """Before a job is accepted; a quote says the same."""
    for params in ({}, {"dry_run": "true"}):
        answer = runtime.api.client.post("/v1/generations", json=ORDER | order, params=params)
        assert runtime.api.problem(answer) == (422, "invalid_request")
        assert line in answer.json()["detail"]


def test_a_workspace_may_ask_for_every_model_or_for_none(runtime: Runtime) -> None:
    """Its list holds for all of them; a quote names the price of each."""
    api = runtime.api
    with limited(runtime, models=[MINI]):
        answer = api.client.post("/v1/generations", json=ORDER | {"models": BOTH})
        assert api.problem(answer) == (422, "invalid_request")
        assert f"may ask for {MINI}" in answer.json()["detail"]
    quote = api.client.post(
        "/v1/generations", json=ORDER | {"models": BOTH}, params={"dry_run": "true"}
    )
    assert [each["model"] for each in quote.json()["models"]] == BOTH


def test_a_job_that_is_retried_names_the_same_models(runtime: Runtime) -> None:
    """It begins with the first again; so does a row that a foreign producer writes."""
    api = runtime.api
    ended = api.finish(api.submit("a mug [[quota:1]]", models=BOTH))
    answer = api.client.post(f"/v1/generations/{ended['id']}/retry")
    assert api.finish(answer.json())["receipt"]["models"] == BOTH
    row = runtime.write_row({**ORDER, "models": BOTH})
    runtime.dispatch(row)
    rows = runtime.finish(row)
    assert (outcomes(rows), rows.attempts[0]["model"]) == (["completed"], MINI)
