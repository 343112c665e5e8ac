"""A real provider on the page: what its faults look like, and what came in spite of them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.support.browser import Browsing
from tests.support.faults import other_settings
from tests.support.images_api import ImagesApi
from tests.support.runtime import Runtime

LIMITS = {"SOFT_TIME_LIMIT": "20", "TIME_LIMIT": "25", "OPENAI_TIMEOUT_SECONDS": "4"}
SIZE = "1024x1024"
PATIENCE_MILLISECONDS = 90_000

ENDS = {
    "rate-limit:9": ("rate_limited", 1),
    "overloaded:9": ("provider_overloaded", 1),
    "quota:9": ("quota_exceeded", 1),
    "forbidden:9": ("provider_authentication", 1),
    "bad-request:9": ("request_rejected", 1),
    "bad-prompt:9": ("prompt_rejected", 1),
    "bad-output:9": ("output_rejected", 1),
    "error:9": ("provider_unavailable", 1),
    "empty:9": ("empty_result", 2),
    "corrupt:9": ("corrupt_image", 2),
    "slow:9": ("provider_timeout", 2),
}
"""Faults of every call, what the job ends with, and how many pictures it asks for."""


@pytest.fixture
def images_api() -> Iterator[ImagesApi]:
    """Give the server of a real provider."""
    with ImagesApi() as api:
        yield api


@pytest.fixture
def real(runtime: Runtime, images_api: ImagesApi) -> Iterator[Runtime]:
    """Give the runtime with workers that call the provider's server."""
    with other_settings(runtime, **LIMITS, **images_api.environment):
        yield runtime


@pytest.mark.timeout(240)
def test_each_error_of_a_provider_is_shown_in_words(real: Runtime, browsing: Browsing) -> None:
    """With its code, and with what is known of the bill."""
    tab = browsing.open(real.page_api)
    jobs = {
        fault: real.page_api.submit(f"a mug <<{fault}>>", n=n, size=SIZE)
        for fault, (_, n) in ENDS.items()
    }
    tab.page.reload()
    for fault, (code, _) in ENDS.items():
        card = tab.card(f"a mug <<{fault}>>")
        expect(card).to_have_attribute("data-status", "failed", timeout=PATIENCE_MILLISECONDS)
        error = card.get_by_test_id("job-error")
        expect(error.locator("code")).to_have_text(code)
        expect(error.locator("strong")).not_to_have_text(code.replace("_", " "))
        charges = {line["charge_state"] for line in real.page_api.get(jobs[fault])["attempts"]}
        receipt = card.get_by_test_id("job-receipt")
        expect(receipt).to_contain_text(
            "may have been charged" if "unknown" in charges else "charged"
        )
    browsing.picture(tab, "provider-errors")


def test_pictures_that_came_are_kept_and_the_rest_comes_later(
    real: Runtime, browsing: Browsing, images_api: ImagesApi
) -> None:
    """Two of four come; the second call asks for the two that are missing."""
    tab = browsing.open(real.page_api)
    card = tab.submit("a mug <<two-fewer>>", size=SIZE, count="4")
    expect(card.get_by_test_id("job-status")).to_have_text("Done", timeout=PATIENCE_MILLISECONDS)
    expect(card.get_by_test_id("job-image")).to_have_count(4)
    assert [call.n for call in images_api.calls] == [4, 2]
    browsing.picture(tab, "two-of-four")
