"""Quotes and budgets: what a request would cost, and a workspace that has spent what it may."""

from shared.status import PREPARING
from tests.support.api import OTHER_WORKSPACE, SMALL
from tests.support.faults import limited, spent_budget
from tests.support.runtime import Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until

ORDER = {"prompt": "a mug", **SMALL}
QUOTE = {"dry_run": "true"}


def test_a_quote_says_price_model_and_limits(runtime: Runtime) -> None:
    """And what the request would be refused with now."""
    api = runtime.api
    with limited(runtime, open_jobs=2, cost_per_month=0):
        answer = api.client.post("/v1/generations", json=ORDER, params=QUOTE)
        assert answer.status_code == 200
        quote = answer.json()
        assert quote["models"] == [{"model": "mock-1", "provider": "mock", "price_microdollars": 0}]
        left = {limit["policy"]: limit["remaining"] for limit in quote["limits"]}
        assert left == {"open-jobs": 2, "cost-per-month": 0}
        assert quote["refusal"] is None
    with limited(runtime, open_jobs=0):
        quote = api.client.post("/v1/generations", json=ORDER, params=QUOTE).json()
        assert quote["refusal"] == "too_many_open_jobs"


def test_a_quote_accepts_nothing(runtime: Runtime) -> None:
    """No job, no use of the minute or of the key: another request may have it."""
    api, headers = runtime.api, {"Idempotency-Key": "quoted"}
    known = api.client.get("/v1/generations").json()["items"]
    with limited(runtime, submissions_per_minute=1):
        for _ in range(2):
            answer = api.client.post("/v1/generations", json=ORDER, params=QUOTE, headers=headers)
            assert answer.json()["limits"][1]["remaining"] == 1
        assert api.client.get("/v1/generations").json()["items"] == known
        other = {**ORDER, "n": 2}
        accepted = api.client.post("/v1/generations", json=other, headers=headers)
    assert (accepted.status_code, accepted.json()["n"]) == (202, 2)
    assert api.finish(accepted.json())["status"] == "completed"


def test_what_would_never_be_accepted_has_no_quote(runtime: Runtime) -> None:
    """It is refused in the same words."""
    for field in ({"model": "gpt-9"}, {"size": "1000x1000"}, {"priority": "urgent"}):
        answers = [
            runtime.api.client.post("/v1/generations", json={**ORDER, **field}, params=params)
            for params in ({}, QUOTE)
        ]
        assert runtime.api.problem(answers[0]) == (422, "invalid_request")
        assert answers[0].json()["detail"] == answers[1].json()["detail"]


def test_a_workspace_that_has_spent_its_budget_submits_nothing(runtime: Runtime) -> None:
    """Until the day is over; a quote says so, and others go on."""
    api = runtime.api
    with spent_budget(runtime):
        answer = api.client.post("/v1/generations", json=ORDER)
        assert api.problem(answer) == (429, "budget_exceeded")
        seconds = int(answer.headers["retry-after"])
        assert 1 <= seconds <= 86_400
        assert answer.headers["ratelimit-policy"] == '"cost-per-day";q=100;w=86400'
        quote = api.client.post("/v1/generations", json=ORDER, params=QUOTE).json()
        assert quote["refusal"] == "budget_exceeded"
        with api.client_of(OTHER_WORKSPACE) as other:
            assert other.post("/v1/generations", json=ORDER).status_code == 202


def test_no_call_begins_beyond_the_budget(runtime: Runtime) -> None:
    """Neither of a job that waited for a retry, nor of one that a program has submitted."""
    retried = runtime.submit("a mug [[rate-limit:3]]")
    wait_until(lambda: runtime.rows(retried).job["next_attempt_at"], 20, "the first attempt")
    with spent_budget(runtime):
        waiting = runtime.submit("a mug")
        for job, attempts in ((waiting, 1), (retried, 2)):
            rows = runtime.finish(job)
            assert rows.job["error"]["code"] == "budget_exceeded"
            assert outcomes(rows) == ["failed"] * attempts
            assert rows.attempts[-1]["charge_state"] == "none"
            assert runtime.steps(job)[-1].progress == PREPARING.progress
