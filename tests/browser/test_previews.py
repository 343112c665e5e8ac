"""What a job shows besides its progress: partial images, and what it cost."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.support.browser import PHONE, Browsing
from tests.support.faults import other_settings
from tests.support.images_api import ImagesApi
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

GONE_AT_THE_END = r"/v1/previews/"
"""What the console says of a preview that was asked for when its picture had just come."""


@pytest.fixture
def images_api() -> Iterator[ImagesApi]:
    """Give the server of a real provider."""
    with ImagesApi() as api:
        yield api


def test_running_job_shows_its_previews(runtime: Runtime, browsing: Browsing) -> None:
    """Blurred and called previews, each newer one by itself; then the pictures take their place."""
    browsing.allow(GONE_AT_THE_END)
    tab = browsing.open(runtime.page_api)
    card = tab.submit("A ceramic mug [[preview]] [[slow:8]]", size="512x512", count="2")
    previews = card.get_by_test_id("job-preview")
    expect(previews).to_have_count(2)
    expect(previews.nth(1)).to_have_attribute(
        "alt", re.compile("^Preview of A ceramic mug.*2 of 2")
    )
    expect(card).to_contain_text("2 of 2 · preview")
    first_width = previews.first.evaluate("image => image.naturalWidth")
    assert previews.first.evaluate("image => getComputedStyle(image).filter").startswith("blur")
    browsing.picture(tab, "previews")
    browsing.picture(tab, "previews-dark", "dark")
    wait_until(
        lambda: previews.first.evaluate("image => image.naturalWidth") > first_width,
        20,
        "a newer preview",
    )
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    expect(previews).to_have_count(0)
    expect(card.get_by_test_id("job-image")).to_have_count(2)
    expect(card).not_to_contain_text("· preview")


def test_progress_never_falls_when_previews_are_asked_for(
    runtime: Runtime, browsing: Browsing
) -> None:
    """The row, which is asked then, may know less than the events."""
    browsing.allow(GONE_AT_THE_END)
    tab = browsing.open(runtime.page_api)
    tab.note_progress()
    card = tab.submit("A ceramic mug [[preview]] [[slow:4]]")
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    noted = tab.noted_progress()
    assert noted == sorted(noted)
    assert set(noted) >= {30, 50, 70}


def test_job_that_is_followed_is_not_asked_for(runtime: Runtime, browsing: Browsing) -> None:
    """Its stream brings all that the page shows."""
    tab = browsing.open(runtime.page_api)
    card = tab.submit("A plain mug [[slow:4]]")
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    expect(card.get_by_test_id("job-preview")).to_have_count(0)
    own = f"/v1/generations/{tab.job_of(card)['id']}"
    asked = [address for address in browsing.addresses if address.endswith(own)]
    assert asked == []


def test_receipt_says_in_words_what_was_charged(
    runtime: Runtime, browsing: Browsing, images_api: ImagesApi
) -> None:
    """Each attempt with its charge, price, model and the provider's own name for the call."""
    browsing.allow(GONE_AT_THE_END)
    with other_settings(runtime, **images_api.environment, OPENAI_TIMEOUT_SECONDS="10"):
        tab = browsing.open(runtime.page_api)
        card = tab.submit("A charged mug <<error>>", size="1024x1024")
        receipt = card.get_by_test_id("job-receipt")
        expect(card.get_by_test_id("job-status")).to_have_text("Done")
        total = "Receipt: charged $0.04; one call may have been charged"
        expect(receipt.locator("summary")).to_have_text(total)
        lines = receipt.get_by_role("listitem")
        expect(lines.first).to_be_hidden()
        receipt.locator("summary").click()
        expect(lines).to_have_count(2)
        expect(lines.first).to_contain_text("Attempt 1, failed")
        expect(lines.first).to_contain_text("may have been charged")
        expect(lines.last).to_contain_text("Attempt 2, completed")
        expect(lines.last).to_contain_text("charged $0.04")
        expect(lines.last).to_contain_text("openai · gpt-image-2.5-flare")
        expect(lines.last).to_contain_text("1 image, 12 input tokens, 1056 output tokens")
        expect(lines.last).to_contain_text(images_api.calls[-1].request_id)
        browsing.picture(tab, "receipt")
        tab.page.set_viewport_size(PHONE)
        assert tab.overflow_px() == 0
        browsing.picture(tab, "receipt-phone-dark", "dark")


def test_receipt_of_a_job_that_cost_nothing_says_so(runtime: Runtime, browsing: Browsing) -> None:
    """In two words; and a job that was never begun has none."""
    tab = browsing.open(runtime.page_api)
    card = tab.submit("A free mug")
    receipt = card.get_by_test_id("job-receipt")
    expect(receipt.locator("summary")).to_have_text("Receipt: not charged (mock mode)")


def test_mock_call_is_never_said_to_have_been_charged(runtime: Runtime, browsing: Browsing) -> None:
    """Not even that of a worker that was killed."""
    tab = browsing.open(runtime.page_api)
    card = tab.submit("A ceramic mug [[crash:1]]")
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    assert [line["charge_state"] for line in tab.job_of(card)["attempts"]] == ["none", "none"]
    receipt = card.get_by_test_id("job-receipt")
    expect(receipt.locator("summary")).to_have_text("Receipt: not charged (mock mode)")
    receipt.locator("summary").click()
    expect(receipt.get_by_role("listitem").first).to_contain_text("lost with its worker")
    expect(receipt).not_to_contain_text("may have been")
    browsing.picture(tab, "receipt-of-the-mock")
