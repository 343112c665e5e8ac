"""A real provider over real HTTP: each fault by its name, every call in the ledger, paid once.

The provider is `tests.support.images_api`, which counts the calls that it saw.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from shared.jobs.model import Job
from shared.status import COMPLETED, rendering
from tests.support.api import http_get
from tests.support.drills import play_outage
from tests.support.faults import kill_process, limited
from tests.support.images_api import MODEL, Call, ImagesApi, partial_png, png
from tests.support.pictures import mask_file
from tests.support.runtime import Rows, Runtime
from tests.support.story import outcomes, storage_keys, stored_keys
from tests.support.wait import wait_until

LIMITS = {"SOFT_TIME_LIMIT": "20", "TIME_LIMIT": "25", "OPENAI_TIMEOUT_SECONDS": "2"}
SIZE = "1024x1024"
PRICE = 40_000
LOW_PRICE = 11_000
OTHER_MODEL = "gpt-image-2-mini"


@dataclass(frozen=True)
class Case:
    """What becomes of a job whose first call meets a fault.

    Attributes:
        charges: Of its attempts, where a second bill is accepted.
        code: Why it fails; None if its next attempt completes it.
        images: How many pictures it asks for; one alone is streamed.
    """

    fault: str
    charges: tuple[str, ...]
    code: str | None = None
    images: int = 1

    @property
    def prompt(self) -> str:
        """Its own, so that its calls are known by it."""
        return f"a mug <<{self.fault}>>"


CASES = [
    Case("rate-limit", ("none", "charged")),
    Case("retry-after", ("none", "charged")),
    Case("overloaded", ("none", "charged")),
    Case("bad-output", ("none", "charged")),
    Case("quota", ("none",), "quota_exceeded"),
    Case("forbidden", ("none",), "provider_authentication"),
    Case("bad-request", ("none",), "request_rejected"),
    Case("bad-prompt", ("none",), "prompt_rejected"),
    Case("error", ("unknown", "charged")),
    Case("slow", ("unknown", "charged")),
    Case("reset", ("unknown", "charged")),
    Case("stream-ends", ("unknown", "charged")),
    Case("reset-body", ("unknown", "charged"), images=2),
    Case("half-body", ("unknown", "charged"), images=2),
    Case("html", ("unknown", "charged"), images=2),
    Case("empty", ("unknown", "charged"), images=2),
    Case("corrupt", ("charged", "charged"), images=2),
    Case("url", ("charged", "charged"), images=2),
    Case("private-url", ("charged",), "unusable_image", images=2),
]


@pytest.fixture(scope="module")
def images_api() -> Iterator[ImagesApi]:
    """Give the provider's server."""
    with ImagesApi() as api:
        yield api


@pytest.fixture(scope="module")
def own_settings(images_api: ImagesApi) -> Mapping[str, str]:
    """Have workers that call the provider's server."""
    prices = {"low": LOW_PRICE, SIZE: PRICE}
    others = {"OPENAI_PRICES": json.dumps(prices), "IMAGE_MODELS": OTHER_MODEL}
    return {**LIMITS, **images_api.environment, **others}


@pytest.fixture
def real(own_runtime: Runtime, images_api: ImagesApi) -> Runtime:
    """Give the runtime, and a provider that has seen no call."""
    images_api.forget()
    return own_runtime


def charges(rows: Rows) -> tuple[str, ...]:
    """Return what the ledger says of each attempt's bill."""
    return tuple(attempt["charge_state"] for attempt in rows.attempts)


def assert_calls_are_in_the_ledger(rows: Rows, calls: list[Call]) -> None:
    """Each call has a line, with the server's own id wherever an answer held it."""
    known = {attempt["provider_request_id"] for attempt in rows.attempts}
    paid = [line for line in rows.attempts if line["charge_state"] != "none"]
    assert len(calls) <= len(rows.attempts)
    assert len(paid) <= len(calls)
    assert known - {None} <= {call.request_id for call in calls}
    assert calls[-1].request_id in known or rows.attempts[-1]["charge_state"] == "unknown"
    assert {line["provider"] for line in rows.attempts} == {"openai"}


def test_each_fault_ends_as_the_table_says(real: Runtime, images_api: ImagesApi) -> None:
    """Another attempt where it may help, a second bill only where it is known of."""
    jobs = {case: real.submit(case.prompt, n=case.images, size=SIZE) for case in CASES}
    for case, job in jobs.items():
        rows = real.finish(job, within=60)
        assert charges(rows) == case.charges, case
        if case.code is None:
            assert rows.job["status"] == "COMPLETED", case
            assert len(rows.images) == case.images
        else:
            assert rows.job["error"]["code"] == case.code, case
        calls = images_api.calls_of(case.prompt)
        assert len(calls) == len(case.charges), case
        assert_calls_are_in_the_ledger(rows, calls)


def test_jobs_of_an_outage_are_retried_in_bulk(real: Runtime, images_api: ImagesApi) -> None:
    """Each brings its picture when the provider is back, and is paid once."""
    play_outage(real, images_api, 3)


def test_nothing_is_paid_twice_where_that_is_not_accepted(
    real: Runtime, images_api: ImagesApi
) -> None:
    """No call follows one whose outcome is unknown; those that cost nothing are repeated."""
    jobs = {
        case: real.submit(case.prompt, n=case.images, size=SIZE, on_unknown_charge="fail")
        for case in CASES
    }
    for case, job in jobs.items():
        rows = real.finish(job, within=60)
        calls = images_api.calls_of(case.prompt)
        if case.charges[0] == "unknown":
            assert rows.job["error"]["code"] == "charge_unknown", case
            assert (charges(rows), len(calls)) == (("unknown",), 1), case
        else:
            assert charges(rows) == case.charges, case
            assert len(calls) == len(case.charges), case
        assert_calls_are_in_the_ledger(rows, calls)


@pytest.mark.parametrize("on_unknown_charge", ["retry", "fail"])
def test_call_of_a_killed_worker_is_repeated_only_where_that_is_accepted(
    real: Runtime, images_api: ImagesApi, on_unknown_charge: str
) -> None:
    """Its ledger line stays open to doubt, whatever follows."""
    prompt = "a killed mug <<slow>>"
    job = real.submit(prompt, size=SIZE, on_unknown_charge=on_unknown_charge)
    wait_until(lambda: images_api.calls_of(prompt), 20, "the call")
    real.kill_worker(job)
    rows = real.finish(job, within=60)
    if on_unknown_charge == "fail":
        assert rows.job["error"]["code"] == "charge_unknown"
        assert (outcomes(rows), charges(rows)) == (["lost", "failed"], ("unknown", "none"))
        assert len(images_api.calls_of(prompt)) == 1
    else:
        assert (outcomes(rows), charges(rows)) == (["lost", "completed"], ("unknown", "charged"))
        assert len(images_api.calls_of(prompt)) == 2


def test_job_costs_no_more_than_its_request_allows(real: Runtime, images_api: ImagesApi) -> None:
    """Not over all its calls either; a call whose charge is unknown counts in full."""
    cases = {
        "a cheap mug <<error>>": (1, PRICE, "cost_limit", 1),
        "a dear mug <<error>>": (1, 2 * PRICE, None, 2),
        "two cheap mugs <<corrupt>>": (2, 3 * PRICE - 1, "cost_limit", 1),
        "four mugs <<two-fewer>>": (4, 4 * PRICE, None, 2),
    }
    jobs = {
        prompt: real.submit(prompt, n=n, size=SIZE, max_cost=most)
        for prompt, (n, most, _, _) in cases.items()
    }
    for prompt, (_, _, code, calls) in cases.items():
        rows = real.finish(jobs[prompt], within=60)
        assert (rows.job["error"] or {}).get("code") == code, prompt
        assert len(images_api.calls_of(prompt)) == calls, prompt
        assert rows.attempts[-1]["charge_state"] == ("none" if code else "charged")


def test_another_model_is_asked_only_where_nothing_can_have_been_billed(
    real: Runtime, images_api: ImagesApi
) -> None:
    """After a refusal; what is charged, or in doubt, stays with its model to the end."""
    cases = {
        "a mug <<quota>>": (("none", "charged"), [MODEL, OTHER_MODEL]),
        "a mug <<forbidden>>": (("none", "charged"), [MODEL, OTHER_MODEL]),
        "a mug <<error>>": (("unknown", "charged"), [MODEL, MODEL]),
        "mugs <<corrupt>>": (("charged", "charged"), [MODEL, MODEL]),
    }
    models = [MODEL, OTHER_MODEL]
    jobs = {
        prompt: real.submit(prompt, n=1 + prompt.startswith("mugs"), size=SIZE, models=models)
        for prompt in cases
    }
    for prompt, (states, asked) in cases.items():
        rows = real.finish(jobs[prompt], within=60)
        assert (rows.job["status"], charges(rows)) == ("COMPLETED", states), prompt
        assert [line["model"] for line in rows.attempts] == asked
        assert [call.body["model"] for call in images_api.calls_of(prompt)] == asked
        assert {image["model"] for image in rows.images} == {asked[-1]}


def test_a_workspace_spends_no_more_than_its_budget(real: Runtime, images_api: ImagesApi) -> None:
    """What was billed counts, and a call in doubt in full: no other follows."""
    with real.database() as cursor:
        cursor.execute("DELETE FROM workspace_costs")
    with limited(real, cost_per_day=3 * PRICE):
        whole = real.submit("a paid mug", size=SIZE)
        assert charges(real.finish(whole)) == ("charged",)
        doubted = real.finish(real.submit("a doubted mug <<error>>", n=2, size=SIZE))
    assert charges(doubted) == ("unknown", "none")
    assert doubted.job["error"]["code"] == "budget_exceeded"
    assert len(images_api.calls_of("a doubted mug")) == 1
    with real.database() as cursor:
        cursor.execute("SELECT today::int FROM workspace_spent WHERE workspace_id = 'default'")
        assert cursor.fetchone()["today"] == 3 * PRICE


def test_saved_bytes_are_never_asked_for_again(real: Runtime, images_api: ImagesApi) -> None:
    """Though the worker died before it could write a row of them."""
    prompt = "a saved mug"
    job = real.submit(f"{prompt} <<two-fewer>>", n=4, size=SIZE, on_unknown_charge="fail")
    with real.locked_images():
        wait_until(lambda: len(stored_keys(real, job)) == 4, 20, "all pictures to be stored")
        pid = real.worker_pid(job)
        kill_process(real, pid)
    rows = real.finish(job, within=60)
    assert rows.job["status"] == "COMPLETED"
    assert storage_keys(rows) == [f"{job.id}/{n}/{p}" for n, p in ((1, 0), (1, 1), (2, 2), (2, 3))]
    calls = images_api.calls_of(prompt)
    assert [call.n for call in calls] == [4, 2]


def test_streamed_picture_has_its_progress_and_its_price(
    real: Runtime, images_api: ImagesApi
) -> None:
    """Each preview is a step; the receipt says what was billed."""
    job = real.submit("a streamed mug", size=SIZE)
    rows = real.finish(job, within=60)
    steps = real.steps(job)
    assert [step for step in steps if step.message == "Rendering..."] == [
        rendering(30),
        rendering(50),
        rendering(70),
    ]
    assert steps[-1] == COMPLETED
    [call] = images_api.calls_of("a streamed mug")
    assert call.body["stream"] is True
    assert call.headers["idempotency-key"] == f"{job.id}-1"
    [line] = rows.attempts
    assert (line["charge_state"], line["price_microdollars"]) == ("charged", PRICE)
    assert line["units"] == {"images": 1, "input_tokens": 12, "output_tokens": 1056}
    assert line["provider_request_id"] == call.request_id
    receipt = real.api.get(job)["receipt"]
    assert receipt == {
        "price_microdollars": PRICE,
        "charged_calls": 1,
        "unknown_calls": 0,
        "unpriced_calls": 0,
        "models": [MODEL],
    }


def test_newest_preview_of_a_stream_is_shown_until_its_picture_is_there(
    real: Runtime, images_api: ImagesApi
) -> None:
    """Of the bytes that the provider sent; and the picture's are its own."""
    api = real.api
    job = api.submit("a shown mug <<stream-waits>>", size=SIZE)
    [preview] = wait_until(
        lambda: [each for each in api.get(job)["previews"] if each["number"] == 2],
        20,
        "the second preview",
    )
    assert preview["position"] == 0
    answer = http_get(api.url + preview["url"])
    assert answer.content == partial_png(1024, 1024, 1)
    assert (preview["width_px"], preview["height_px"]) == (1024, 1024)
    images_api.may_go_on.set()
    ended = api.finish(job)
    assert (ended["status"], ended["previews"]) == ("completed", [])
    assert api.problem(http_get(api.url + preview["url"])) == (404, "not_found")
    [image] = ended["images"]
    assert http_get(api.url + image["url"]).content == partial_png(1024, 1024, 3)


def test_provider_is_sent_the_reference(real: Runtime, images_api: ImagesApi) -> None:
    """As an edit, streamed or not, byte for byte; again where a call has failed."""
    api = real.api
    kept = png(300, 200)
    request = {"size": SIZE, "source_asset_id": api.upload(kept)}
    jobs = {n: api.submit(f"a mug of {n} <<overloaded>>", n=n, **request) for n in (1, 3)}
    for n, job in jobs.items():
        ended = api.finish(job)
        assert (ended["status"], len(ended["images"])) == ("completed", n)
        calls = images_api.calls_of(f"a mug of {n}")
        assert [call.references for call in calls] == [[kept], [kept]]
        assert [call.n for call in calls] == [n, n]
    [streamed, _] = (images_api.calls_of(f"a mug of {n}")[0].body.get("stream") for n in (1, 3))
    assert streamed is True


def test_provider_is_sent_several_references_and_a_mask(
    real: Runtime, images_api: ImagesApi
) -> None:
    """In their order, byte for byte; also after a retry of the job."""
    api = real.api
    files, mask = [png(300, 200, shade) for shade in range(16)], mask_file((300, 200))
    first, *others = [api.upload(data) for data in files]
    request = {"source_asset_id": first, "reference_asset_ids": others}
    job = api.finish(api.submit("mugs", size=SIZE, mask_asset_id=api.upload(mask), **request))
    assert job["status"] == "completed"
    again = api.client.post(f"/v1/generations/{job['id']}/retry").json()
    assert api.finish(again)["status"] == "completed"
    calls = images_api.calls_of("mugs")
    assert [(call.references, call.body["mask"]) for call in calls] == [(files, mask)] * 2


def test_no_secret_of_the_provider_reaches_a_log(real: Runtime) -> None:
    """Neither the key nor a prompt, also where the SDK itself says something."""
    before = len(real.log_lines())
    job: Job = real.submit("a secret mug <<error>>", size=SIZE)
    real.finish(job, within=60)
    said = str(real.log_lines()[before:])
    assert "sk-tests" not in said
    assert "secret mug" not in said


def test_the_form_of_the_images_is_chosen(real: Runtime, images_api: ImagesApi) -> None:
    """Where the model offers it; the quality has its own price, `auto` sends nothing."""
    form = {
        "size": "1536x864",
        "quality": "low",
        "background": "transparent",
        "output_format": "webp",
        "output_compression": 70,
        "moderation": "low",
    }
    chosen = real.api.submit("a chosen mug", n=2, **form)
    left = real.api.submit("a plain mug", n=2, size="auto", quality="auto", background="auto")
    ended = real.api.finish(chosen)
    assert {name: ended[name] for name in form} == form
    [call] = images_api.calls_of("a chosen mug")
    assert {name: call.body[name] for name in form} == form
    assert ended["receipt"]["price_microdollars"] == 2 * LOW_PRICE
    real.api.finish(left)
    [call] = images_api.calls_of("a plain mug")
    assert call.body["size"] == "auto"
    assert not {"quality", "background", "output_compression", "moderation"} & call.body.keys()
    body = {"prompt": "a mug", "size": SIZE, "quality": "hd"}
    answer = real.api.client.post("/v1/generations", json=body)
    assert real.api.problem(answer) == (422, "invalid_request")
    assert "offers low, medium, high, xhigh, max, not hd" in answer.json()["detail"]
