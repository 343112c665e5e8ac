"""FLUX over real HTTP: images are bought by name, once, and each bill is known in the end."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from shared.jobs.model import Job
from tests.support.flux_api import MODEL, PRICE, FluxApi
from tests.support.images_api import png
from tests.support.runtime import Rows, Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until

SIZE = "1024x1024"


@dataclass(frozen=True)
class Case:
    """What becomes of a job whose first order, or its image, meets a fault.

    Attributes:
        charges: Of its attempts, once all bills are known.
        code: Why it fails; None if it is completed.
        bought: How many orders were accepted.
    """

    fault: str
    charges: tuple[str, ...]
    code: str | None = None
    bought: int = 1


CASES = [
    Case("rate-limit", ("none", "charged")),
    Case("overloaded", ("none", "charged")),
    Case("error", ("unknown", "charged")),
    Case("quota", ("none",), "quota_exceeded", 0),
    Case("forbidden", ("none",), "provider_authentication", 0),
    Case("bad-request", ("none",), "request_rejected", 0),
    Case("moderated", ("none",), "prompt_rejected"),
    Case("withheld", ("none", "charged"), bought=2),
    Case("failed", ("none", "charged"), bought=2),
    Case("lost", ("unknown", "charged"), bought=2),
    Case("busy", ("charged",)),
    Case("foreign", ("charged",)),
    Case("cut", ("charged", "none")),
    Case("expired", ("charged",), "unusable_image"),
]


@pytest.fixture(scope="module")
def flux() -> Iterator[FluxApi]:
    """Give the provider's server."""
    with FluxApi() as api:
        yield api


@pytest.fixture(scope="module")
def own_settings(flux: FluxApi) -> Mapping[str, str]:
    """Have workers that call the server, and try again at once."""
    limits = {"SOFT_TIME_LIMIT": "60", "TIME_LIMIT": "70", "RETRY_BACKOFF": "0"}
    return {**limits, **flux.environment, "FLUX_TIMEOUT_SECONDS": "1", "MAX_ATTEMPTS": "9"}


@pytest.fixture(autouse=True)
def forgotten(flux: FluxApi) -> None:
    """Count the orders of each runtime and test from zero."""
    flux.forget()


def charges(rows: Rows) -> tuple[str, ...]:
    """Return what the ledger says of each attempt's bill."""
    return tuple(line["charge_state"] for line in rows.attempts)


def paid(rows: Rows) -> int:
    """Return what the ledger says of all bills."""
    return sum(line["price_microdollars"] or 0 for line in rows.attempts)


def buy(runtime: Runtime, flux: FluxApi, prompt: str, **request: object) -> Job:
    """Submit a job; return it once its order is accepted and in the ledger."""
    job = runtime.submit(prompt, size=SIZE, **request)
    wait_until(lambda: flux.tasks_of(prompt), 90, "the order")
    wait_until(
        lambda: runtime.rows(job).attempts[0]["provider_request_id"], 90, "its name in the ledger"
    )
    return job


def test_images_are_bought_at_once_and_billed_as_the_answer_says(
    own_runtime: Runtime, flux: FluxApi
) -> None:
    """Each has a seed of its own; the ledger has one line, with the sum."""
    job = own_runtime.submit("three mugs", n=3, size=SIZE, seed=7)
    rows = own_runtime.finish(job, within=60)
    assert [image["seed"] for image in rows.images] == [7, 8, 9]
    assert {(image["provider"], image["model"]) for image in rows.images} == {("flux", MODEL)}
    tasks = flux.tasks_of("three mugs")
    assert [task.body["seed"] for task in tasks] == [7, 8, 9]
    [line] = rows.attempts
    assert (line["charge_state"], line["price_microdollars"]) == ("charged", 3 * PRICE)
    assert line["units"] == {"images": 3}
    assert line["provider_request_id"] == tasks[-1].id


def test_each_fault_ends_as_the_table_says(own_runtime: Runtime, flux: FluxApi) -> None:
    """Bills are what the ledger says, but for orders whose answer never came."""
    jobs = {case: own_runtime.submit(f"a mug <<{case.fault}>>", size=SIZE) for case in CASES}
    for case, job in jobs.items():
        rows = own_runtime.finish(job, within=90)
        assert charges(rows) == case.charges, case
        if case.code is None:
            assert rows.job["status"] == "COMPLETED", case
        else:
            assert rows.job["error"]["code"] == case.code, case
        tasks = flux.tasks_of(f"a mug <<{case.fault}>>")
        assert len(tasks) == case.bought, case
        billed = PRICE * sum(task.is_billed for task in tasks)
        in_doubt = PRICE * (case.fault == "lost")
        assert paid(rows) == billed - in_doubt, case


@pytest.mark.parametrize("accepted", ["retry", "fail"])
def test_order_of_a_killed_worker_is_asked_for_and_not_repeated(
    own_runtime: Runtime, flux: FluxApi, accepted: str
) -> None:
    """Its bill is known in the end, in the line of the attempt that bought it."""
    prompt = "a killed mug <<stuck>>"
    job = buy(own_runtime, flux, prompt, on_unknown_charge=accepted)
    own_runtime.kill_worker(job)
    flux.released.set()
    rows = own_runtime.finish(job, within=90)
    assert rows.job["status"] == "COMPLETED"
    assert outcomes(rows) == ["lost", "completed"]
    assert charges(rows) == ("charged", "none")
    assert (paid(rows), flux.orders_of(prompt)) == (PRICE, 1)


def test_an_api_that_is_silent_is_asked_again_by_the_next_attempt(
    own_runtime: Runtime, flux: FluxApi
) -> None:
    """Also where no second bill is accepted: nothing is bought again."""
    prompt = "a silent mug <<silent>>"
    job = buy(own_runtime, flux, prompt, on_unknown_charge="fail")
    wait_until(lambda: own_runtime.rows(job).attempts[0]["finished_at"], 60, "the first error")
    flux.released.set()
    rows = own_runtime.finish(job, within=90)
    assert rows.job["status"] == "COMPLETED"
    assert rows.attempts[0]["error"]["code"] == "provider_timeout"
    assert {*charges(rows)} == {"charged", "none"}
    assert (paid(rows), flux.orders_of(prompt)) == (PRICE, 1)


def test_bill_that_was_open_at_the_end_of_a_job_is_found(
    own_runtime: Runtime, flux: FluxApi
) -> None:
    """The job was cancelled while its image was made; a worker asks after its next job."""
    job = buy(own_runtime, flux, "a cancelled mug <<stuck>>")
    own_runtime.services.cancel(job.id)
    assert own_runtime.finish(job, within=90).job["error"]["code"] == "cancelled"
    assert charges(own_runtime.rows(job)) == ("unknown",)
    flux.released.set()

    def bill_after_another_job() -> bool:
        own_runtime.finish(own_runtime.submit("another mug", size=SIZE), within=90)
        return charges(own_runtime.rows(job)) == ("charged",)

    wait_until(bill_after_another_job, 90, "the bill")
    assert paid(own_runtime.rows(job)) == PRICE


def test_the_references_are_sent(own_runtime: Runtime, flux: FluxApi) -> None:
    """Byte for byte, in their order, as many as the model takes."""
    api = own_runtime.api
    files = [png(300, 200, shade) for shade in range(8)]
    ids = [api.upload(data) for data in files]
    order = {"prompt": "a mug like this", "size": SIZE, "source_asset_id": ids[0]}
    job = api.submit(**order, reference_asset_ids=ids[1:])
    assert api.finish(job)["status"] == "completed"
    [task] = flux.tasks_of("a mug like this")
    assert task.references == files
    refused = api.client.post("/v1/generations", json={**order, "reference_asset_ids": ids})
    assert api.problem(refused) == (422, "invalid_request")
    assert "takes at most 8 reference pictures, not 9" in refused.json()["detail"]
