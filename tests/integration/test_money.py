"""Whatever moment a connection or a worker dies at, the ledger says what was paid.

`MONEY_STEP` is how many bytes lie between two cuts, and `make money` takes every moment.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from shared.events.publisher import EventPublisher
from tests.support import flux_api, gemini_api, images_api
from tests.support.database import Database
from tests.support.flux_api import FluxApi
from tests.support.gemini_api import GeminiApi
from tests.support.images_api import ImagesApi
from tests.support.money import PICTURES, Biller, Run, Till

IS_WHOLE = "MONEY_STEP" in os.environ
STEP_BYTES = int(os.environ.get("MONEY_STEP", "1024"))
KILLS_APART = 1 if IS_WHOLE else 4
OPENAI_PRICE = 40_000

Runs = Callable[[Biller], Iterator[Run]]


@contextmanager
def openai(*, honours_keys: bool) -> Iterator[Biller]:
    """Give a server of the OpenAI Images API."""
    with ImagesApi() as api:
        api.honours_keys = honours_keys
        settings = {
            "openai_api_key": images_api.KEY,
            "openai_base_url": "{url}/v1",
            "openai_model": images_api.MODEL,
            "openai_prices": {"*": OPENAI_PRICE},
        }
        yield Biller("openai", api.url, settings, OPENAI_PRICE, lambda: api.billed, honours_keys)


@contextmanager
def gemini() -> Iterator[Biller]:
    """Give a server of the Gemini API."""
    with GeminiApi() as api:
        settings = {
            "gemini_api_key": gemini_api.KEY,
            "gemini_base_url": "{url}/v1beta",
            "gemini_prices": {"*": gemini_api.PRICE},
        }
        yield Biller(
            "gemini",
            api.url,
            settings,
            gemini_api.PRICE,
            lambda: sum(call.is_billed for call in api.calls),
        )


@contextmanager
def flux() -> Iterator[Biller]:
    """Give a server of the FLUX API."""
    with FluxApi() as api:
        settings = {
            "flux_api_key": flux_api.KEY,
            "flux_base_url": "{url}/v1",
            "flux_poll_seconds": 0.01,
        }
        yield Biller(
            "flux",
            api.url,
            settings,
            flux_api.PRICE,
            lambda: sum(task.is_billed for task in api.orders.tasks.values()),
        )


@pytest.fixture
def runs(
    engine: Engine, publisher: EventPublisher, database: Database, tmp_path: Path
) -> Callable[..., Iterator[Run]]:
    """Give what runs a job for each moment that a fault may strike at, and checks its bills."""

    def make(biller: Biller, accepted: str = "retry") -> Iterator[Run]:
        till = Till(biller, engine, database, publisher, tmp_path)
        ends = Counter[str]()
        for fault in till.faults(STEP_BYTES):
            if (fault.kills_before or 0) % KILLS_APART:
                continue
            run = till.run(fault, accepted)
            run.assert_bills_are_in_the_ledger(biller)
            ends[_end_of(run)] += 1
            yield run
        print(f"{biller.name}, {accepted}: {ends.total()} runs, {dict(ends)}")

    return make


def _end_of(run: Run) -> str:
    states = [line["charge_state"] for line in run.lines]
    return f"{run.job['status']} {'+'.join(states)}"


@pytest.mark.timeout(0 if IS_WHOLE else 120)
def test_server_that_honours_keys_bills_nothing_twice(runs: Runs) -> None:
    """Though each answer may be lost; one that was saved in part is not asked for again."""
    with openai(honours_keys=True) as biller:
        for run in runs(biller):
            assert sum(run.bills) == PICTURES or run.kept_of == {"1", "2"}, run
            assert run.job["status"] == "COMPLETED", run


@pytest.mark.timeout(0 if IS_WHOLE else 120)
def test_second_bill_of_a_server_without_keys_is_preceded_by_a_line_in_doubt(runs: Runs) -> None:
    """As every run asserts."""
    with openai(honours_keys=False) as biller:
        for run in runs(biller):
            assert run.job["status"] == "COMPLETED", run


@pytest.mark.timeout(0 if IS_WHOLE else 120)
def test_images_that_came_before_a_fault_are_not_bought_again(runs: Runs) -> None:
    """Of a provider that makes one image a call."""
    with gemini() as biller:
        for run in runs(biller):
            assert sum(run.bills) <= PICTURES + 1, run
            assert run.job["status"] == "COMPLETED", run


@pytest.mark.timeout(0 if IS_WHOLE else 120)
@pytest.mark.parametrize("accepted", ["retry", "fail"])
def test_bill_of_an_image_that_has_a_name_is_known_in_the_end(
    runs: Callable[..., Iterator[Run]], accepted: str
) -> None:
    """And it is bought once. What was ordered, and not answered, alone stays in doubt."""
    with flux() as biller:
        for run in runs(biller, accepted):
            unnamed = [
                bought
                for line in run.lines
                for bought in (line["purchases"] or {}).values()
                if "charge_state" not in bought
            ]
            assert not any("request_id" in bought for bought in unnamed), run
            in_doubt = [line for line in run.lines if line["charge_state"] == "unknown"]
            assert bool(in_doubt) == bool(unnamed), run
            assert sum(run.bills) <= PICTURES + (len(unnamed) if accepted == "retry" else 0), run
            if not unnamed:
                assert run.job["status"] == "COMPLETED", run
