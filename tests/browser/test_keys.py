"""The page where the API wants a key."""

import re

from playwright.sync_api import expect

from tests.support.browser import Browsing
from tests.support.runtime import Runtime


def test_key_is_asked_for_refused_and_accepted(runtime: Runtime, browsing: Browsing) -> None:
    """A wrong one is refused visibly; no address ever holds one."""
    browsing.allow(r"status of 401")
    api = runtime.api
    tab = browsing.open(api)
    field, save = tab.page.get_by_test_id("api-key"), tab.page.get_by_test_id("api-key-save")
    expect(field).to_be_focused()
    expect(tab.page.get_by_test_id("state")).to_contain_text("Enter the API key")
    browsing.picture(tab, "key-wanted")
    field.fill("dk_wrong_key")
    save.click()
    refusal = tab.page.get_by_role("alert").filter(has_text=re.compile("does not accept"))
    expect(refusal).to_be_visible()
    browsing.picture(tab, "key-refused")
    field.fill(api.keys["default"])
    save.click()
    expect(field).to_be_hidden()
    card = tab.submit("A ceramic mug")
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    expect(card.get_by_test_id("job-image")).to_have_count(1)
    tab.page.get_by_test_id("api-key-forget").click()
    expect(card).to_be_hidden()
    expect(field).to_be_visible()
    addresses = [*browsing.addresses, tab.page.url]
    assert [address for address in addresses if "dk_" in address] == []
