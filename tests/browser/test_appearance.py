"""The page for those without a mouse, with a small screen, by day and by night; and /docs."""

from playwright.sync_api import expect

from tests.support.browser import PHONE, Browsing
from tests.support.runtime import Runtime

LONG_WORD = "Porzellankaffeetassenuntersetzer" * 4
WAITING = "A ceramic mug, much asked for [[rate-limit:30]]"
HANGING = "A ceramic mug that takes its time [[hang]]"


def test_keyboard_alone_submits_and_cancels(runtime: Runtime, browsing: Browsing) -> None:
    """Through the form in the order of reading, down to Cancel; the keyboard is never lost."""
    tab = browsing.open(runtime.page_api)
    keyboard = tab.page.keyboard
    tab.tab_to(tab.page.get_by_test_id("prompt"))
    keyboard.type("A ceramic mug [[hang]]")
    for name in ("style", "reference", "script", "size", "count"):
        keyboard.press("Tab")
        expect(tab.page.get_by_test_id(name)).to_be_focused()
    keyboard.press("Shift+Tab")
    keyboard.press("Home")
    expect(tab.page.get_by_test_id("size")).to_have_value("256x256")
    tab.tab_to(tab.page.get_by_test_id("submit"))
    browsing.picture(tab, "keyboard-submit")
    keyboard.press("Enter")
    card = tab.card("A ceramic mug [[hang]]")
    expect(card.get_by_test_id("job-status")).to_have_text("In progress")
    tab.tab_to(card.get_by_test_id("job-cancel"))
    browsing.picture(tab, "keyboard-cancel")
    keyboard.press("Enter")
    expect(card.get_by_test_id("job-status")).to_have_text("Cancelled")
    assert tab.focused().evaluate("element => element !== document.body")
    tab.tab_to(card.get_by_test_id("job-again"))


def test_page_fits_a_phone_in_both_colour_schemes(runtime: Runtime, browsing: Browsing) -> None:
    """At 360 px nothing is scrolled to the side, whatever state the jobs are in."""
    tab = browsing.open(runtime.page_api)
    tab.page.set_viewport_size(PHONE)
    assert tab.overflow_px() == 0
    browsing.picture(tab, "phone-empty")
    for prompt, status in (
        (f"{LONG_WORD} [[reject]]", "Failed"),
        ("A ceramic mug with two of four pictures [[short:2]]", "Done"),
        (WAITING, "Waiting to retry"),
        (HANGING, "In progress"),
    ):
        card = tab.submit(prompt, count="4")
        expect(card.get_by_test_id("job-status")).to_have_text(status)
        assert tab.overflow_px() == 0, status
    browsing.picture(tab, "phone-light")
    browsing.picture(tab, "phone-dark", "dark")
    tab.page.set_viewport_size({"width": 1280, "height": 800})
    browsing.picture(tab, "all-light")
    browsing.picture(tab, "all-dark", "dark")
    for prompt in (WAITING, HANGING):
        tab.card(prompt).get_by_test_id("job-cancel").click()
    expect(tab.page.locator("[data-look=cancelled]")).to_have_count(2)


def test_docs_show_every_operation_with_files_from_here(
    runtime: Runtime, browsing: Browsing
) -> None:
    """As many as the document has; the fixture sees that no other host was asked."""
    document = runtime.page_api.client.get("/openapi.json").json()
    operations = [
        (path, method) for path, methods in document["paths"].items() for method in methods
    ]
    tab = browsing.open(runtime.page_api, "/docs")
    expect(tab.page.locator(".opblock")).to_have_count(len(operations))
    assert ("/v1/generations", "post") in operations
    expect(tab.page.locator(".opblock-post").first).to_contain_text("/v1/generations")
    browsing.picture(tab, "docs")
