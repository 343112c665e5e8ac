"""The page when the API goes away, and when an address it was given has expired."""

import re

from playwright.sync_api import Locator, expect

from tests.support.browser import CONNECTION_LOST, Browsing, Tab, wait_until_drawn
from tests.support.runtime import Runtime


def _expect_right_end(tab: Tab, card: Locator) -> None:
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    wait_until_drawn(card.get_by_test_id("job-image"), 256)
    expect(tab.page.get_by_test_id("connection")).to_be_hidden()
    assert tab.page.evaluate("window.isTheSamePage"), "the page was loaded again"


def test_page_ends_right_though_the_api_was_restarted_halfway(
    runtime: Runtime, browsing: Browsing
) -> None:
    """It says that the server is unavailable, reconnects, and is never loaded again."""
    browsing.allow(CONNECTION_LOST)
    api = runtime.page_api
    tab = browsing.open(api)
    tab.page.evaluate("window.isTheSamePage = true")
    card = tab.submit("A ceramic mug [[slow:12]]")
    expect(card.get_by_test_id("job-status")).to_have_text("In progress")
    api.process.kill()
    expect(tab.page.get_by_test_id("connection")).to_have_text(re.compile("cannot be reached"))
    browsing.picture(tab, "server-away")
    api.process.start()
    _expect_right_end(tab, card)


def test_page_follows_a_job_that_outlives_the_signature_of_its_events(
    runtime: Runtime, browsing: Browsing
) -> None:
    """The address holds while the job is open, also at an API that was started anew."""
    # A killed process frees its stream only later, so that the few there are may be taken.
    browsing.allow(CONNECTION_LOST, r"status of 429")
    api = runtime.open_api
    tab = browsing.open(api)
    tab.page.evaluate("window.isTheSamePage = true")
    card = tab.submit("A ceramic mug [[slow:20]]")
    progress = card.get_by_test_id("job-progress")
    expect(progress).to_have_attribute("value", "30")
    refused: list[bool] = []
    tab.page.on("response", lambda answer: refused.append(answer.status == 401))
    api.process.kill()
    api.process.start()
    _expect_right_end(tab, card)
    assert refused
    assert not any(refused), "an address had expired"
