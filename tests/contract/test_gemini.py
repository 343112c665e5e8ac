"""Gemini over real HTTP: one call for each image, each fault by its name, and paid once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.support.faults import paused_provider
from tests.support.gemini_api import MODEL, PRICE, GeminiApi
from tests.support.images_api import MODEL as OTHER
from tests.support.images_api import ImagesApi, png
from tests.support.runtime import Runtime

SIZE = "1024x1024"


@dataclass(frozen=True)
class Case:
    """What becomes of a job whose first call meets a fault."""

    fault: str
    charges: tuple[str, ...]
    code: str | None = None
    says: str = ""


CASES = [
    Case("rate-limit", ("none", "charged")),
    Case("overloaded", ("none", "charged")),
    Case("error", ("unknown", "charged")),
    Case("withheld", ("unknown", "charged")),
    Case("no-image", ("unknown", "charged")),
    Case("strange", ("unknown", "charged")),
    Case("cut", ("charged", "charged")),
    Case("bad-data", ("charged",), "unusable_image", "not base64"),
    Case("blocked", ("none",), "prompt_rejected", "PROHIBITED_CONTENT"),
    Case("bad-request", ("none",), "request_rejected", "Invalid value"),
    Case("bad-key", ("none",), "provider_authentication"),
]


@pytest.fixture(scope="module")
def gemini() -> Iterator[GeminiApi]:
    """Give the provider's server."""
    with GeminiApi() as api:
        yield api


@pytest.fixture(scope="module")
def images_api() -> Iterator[ImagesApi]:
    """Give the server of another provider, whose model may be asked for, too."""
    with ImagesApi() as api:
        yield api


@pytest.fixture(scope="module")
def own_settings(gemini: GeminiApi, images_api: ImagesApi) -> Mapping[str, str]:
    """Have workers that call the servers, and try again at once."""
    limits = {"SOFT_TIME_LIMIT": "20", "TIME_LIMIT": "25", "RETRY_BACKOFF": "0"}
    return {**limits, **images_api.environment, **gemini.environment, "IMAGE_MODELS": OTHER}


@pytest.fixture(autouse=True)
def forgotten(gemini: GeminiApi) -> None:
    """Count the calls of each runtime and test from zero."""
    with gemini.lock:
        gemini.calls.clear()
        gemini.seen.clear()


def test_each_image_has_its_call_and_its_price(own_runtime: Runtime, gemini: GeminiApi) -> None:
    """The ledger has one line, with the sum."""
    job = own_runtime.submit("two mugs", n=2, size="1536x1024")
    rows = own_runtime.finish(job)
    assert [(image["width_px"], image["height_px"]) for image in rows.images] == [(1536, 1024)] * 2
    assert {(image["provider"], image["model"]) for image in rows.images} == {("gemini", MODEL)}
    [line] = rows.attempts
    assert (line["charge_state"], line["price_microdollars"]) == ("charged", 2 * PRICE)
    assert line["units"] == {"images": 2, "input_tokens": 24, "output_tokens": 2600}
    assert line["provider_request_id"] == "response-1"
    assert len(gemini.calls_of("two mugs")) == 2


def test_each_fault_ends_as_the_table_says(own_runtime: Runtime, gemini: GeminiApi) -> None:
    """Another attempt where it may help; no bill that the ledger does not know of."""
    jobs = {case: own_runtime.submit(f"a mug <<{case.fault}>>", size=SIZE) for case in CASES}
    for case, job in jobs.items():
        rows = own_runtime.finish(job, within=60)
        assert tuple(line["charge_state"] for line in rows.attempts) == case.charges, case
        if case.code is None:
            assert rows.job["status"] == "COMPLETED", case
        else:
            assert rows.job["error"]["code"] == case.code, case
            assert case.says in rows.job["error"]["message"], case
        calls = gemini.calls_of(f"a mug <<{case.fault}>>")
        assert len(calls) == len(case.charges), case
        billed = sum(call.is_billed for call in calls)
        assert billed <= sum(line["charge_state"] != "none" for line in rows.attempts), case


@pytest.mark.parametrize(("accepted", "calls", "missing"), [("retry", 5, 1), ("fail", 3, 1)])
def test_images_before_a_failed_call_are_kept(
    own_runtime: Runtime, gemini: GeminiApi, accepted: str, calls: int, missing: int
) -> None:
    """Only the missing one is asked for again, and only where a second bill is accepted."""
    job = own_runtime.submit("mugs <<only:2>>", n=3, size=SIZE, on_unknown_charge=accepted)
    rows = own_runtime.finish(job)
    assert rows.job["status"] == "COMPLETED"
    assert (len(rows.images), rows.job["result"]["missing"]) == (2, missing)
    assert len(gemini.calls_of("mugs <<only:2>>")) == calls
    assert rows.attempts[0]["charge_state"] == "unknown"
    assert rows.attempts[0]["price_microdollars"] == 2 * PRICE


def test_the_references_are_sent(own_runtime: Runtime, gemini: GeminiApi) -> None:
    """Byte for byte, in their order; a mask is refused before."""
    api = own_runtime.api
    files = [png(300, 200, shade) for shade in range(3)]
    ids = [api.upload(data) for data in files]
    order = {"prompt": "a mug like this", "source_asset_id": ids[0]}
    job = api.submit(**order, size=SIZE, reference_asset_ids=ids[1:])
    assert api.finish(job)["status"] == "completed"
    [call] = gemini.calls_of("a mug like this")
    assert call.references == files
    body = {**order, "size": SIZE, "mask_asset_id": ids[0]}
    refused = api.client.post("/v1/generations", json=body)
    assert api.problem(refused) == (422, "invalid_request")
    assert refused.json()["detail"].endswith(" takes no mask")


def test_each_job_goes_to_the_provider_of_its_model(
    own_runtime: Runtime, gemini: GeminiApi, images_api: ImagesApi
) -> None:
    """And is charged at its price; a pause of one provider holds back its own jobs alone."""
    api = own_runtime.api
    images_api.forget()
    with paused_provider(own_runtime, "openai"):
        waiting = api.submit("a cup", size=SIZE, model=OTHER)
        ended = api.finish(api.submit("a mug", size=SIZE))
        assert (ended["model"], ended["attempts"][0]["provider"]) == (MODEL, "gemini")
        assert api.get(waiting)["status"] == "pending"
    ended = api.finish(waiting)
    [line] = ended["attempts"]
    assert (line["provider"], line["model"], line["price_microdollars"]) == ("openai", OTHER, 40000)
    assert (len(gemini.calls), len(images_api.calls)) == (1, 1)
    listed = api.client.get("/v1/models").json()["data"]
    assert [(model["id"], model["owned_by"]) for model in listed] == [
        (MODEL, "gemini"),
        (OTHER, "openai"),
    ]
