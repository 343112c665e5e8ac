"""How the page looks: its states, small screens, the keyboard, both colour schemes; and /docs."""

from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image, ImageStat
from playwright.sync_api import expect

from tests.support.browser import PHONE, Browsing, wait_until_drawn
from tests.support.images_api import png
from tests.support.runtime import Runtime

LONG_WORD = "Porzellankaffeetassenuntersetzer" * 4
WAITING = "A ceramic mug, much in demand [[rate-limit:30]]"
HANGING = "A ceramic mug that takes its time [[hang]]"
PICTURE_MAX_BYTES = 300 * 1024
LAMP = "getComputedStyle(document.querySelector('.lamp')).backgroundColor"
DARK = "rgba(0, 0, 0, 0)"


def test_page_without_jobs_offers_samples(runtime: Runtime, browsing: Browsing) -> None:
    """One click fills in a prompt and a style whose result is shown, a second one generates."""
    tab = browsing.open(runtime.page_api)
    samples = tab.page.get_by_test_id("sample")
    expect(samples).to_have_count(3)
    expect(samples.first).to_be_visible()
    browsing.picture(tab, "empty")
    browsing.picture(tab, "empty-dark", "dark")
    prompt = "Trail running shoes on a wet rock above the clouds"
    tab.page.get_by_role("button", name=prompt).click()
    expect(tab.page.get_by_test_id("prompt")).to_have_value(prompt)
    expect(tab.page.get_by_test_id("style")).to_have_value("outdoor")
    expect(tab.page.get_by_test_id("submit")).to_be_focused()
    tab.page.get_by_test_id("size").select_option("256x256")
    tab.page.get_by_test_id("submit").press("Enter")
    expect(tab.card(prompt).get_by_test_id("job-status")).to_have_text("Done")
    expect(samples.first).to_be_hidden()


def test_form_offers_what_the_api_lists(runtime: Runtime, browsing: Browsing) -> None:
    """Sizes, styles, scenarios and limits are those of /v1/options."""
    options = runtime.page_api.client.get("/v1/options").json()
    tab = browsing.open(runtime.page_api)
    values = "list => [...list.options].map((option) => option.value)"
    expect(tab.page.locator("#size option")).to_have_count(len(options["sizes"]))
    offered = {
        name: tab.page.get_by_test_id(name).evaluate(values) for name in ("size", "style", "script")
    }
    assert offered == {
        "size": options["sizes"],
        "style": [style["id"] for style in options["styles"]],
        "script": ["", *(script["tag"] for script in options["scripts"])],
    }
    assert tab.page.get_by_test_id("count").get_attribute("max") == str(options["images_max"])
    expect(tab.page.get_by_test_id("size")).to_have_value(options["default_size"])


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


@pytest.mark.parametrize("width", [PHONE["width"], 320])
def test_phone_shows_the_button_first_and_folds_the_rest_away(
    runtime: Runtime, browsing: Browsing, width: int, tmp_path: Path
) -> None:
    """Generate is on the first screen; what is folded away opens by hand, or for an error."""
    browsing.allow(r"status of 422")
    tab = browsing.open(runtime.page_api)
    tab.page.set_viewport_size({"width": width, "height": 560})
    button, folded = tab.page.get_by_test_id("submit"), ("style", "reference", "script")
    expect(tab.page.get_by_test_id("style")).to_be_hidden()
    box = button.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 560
    assert tab.overflow_px() == 0
    browsing.picture(tab, f"phone-{width}-empty")
    tab.page.get_by_text("Style and more").click()
    for name in folded:
        expect(tab.page.get_by_test_id(name)).to_be_visible()
    (tmp_path / "broken.png").write_bytes(png(30, 20)[:60])
    tab.page.get_by_test_id("reference").set_input_files(tmp_path / "broken.png")
    tab.page.get_by_text("Style and more").click()
    tab.page.get_by_test_id("prompt").fill("A ceramic mug")
    button.click()
    expect(tab.page.locator("#reference-error")).to_be_visible()
    browsing.picture(tab, f"phone-{width}-refused")


def test_page_fits_a_phone_in_both_colour_schemes(runtime: Runtime, browsing: Browsing) -> None:
    """At 360 px nothing is scrolled to the side, whatever state the jobs are in."""
    tab = browsing.open(runtime.page_api)
    tab.page.set_viewport_size(PHONE)
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


def test_lamp_is_lit_only_while_a_job_runs(runtime: Runtime, browsing: Browsing) -> None:
    """Neither while a job waits for its next attempt, nor after its end."""
    tab = browsing.open(runtime.page_api)
    expect(tab.page.get_by_test_id("sample").first).to_be_visible()
    assert tab.page.evaluate(LAMP) == DARK
    card = tab.submit("A ceramic mug [[rate-limit:4]] [[slow:4]]")
    expect(card.get_by_test_id("job-status")).to_have_text("In progress")
    expect(tab.page.locator("html.running")).to_be_attached()
    assert tab.page.evaluate(LAMP) != DARK
    expect(card.get_by_test_id("job-status")).to_have_text("Waiting to retry")
    expect(tab.page.locator("html:not(.running)")).to_be_attached()
    assert tab.page.evaluate(LAMP) == DARK
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    expect(tab.page.locator("html:not(.running)")).to_be_attached()


def test_blank_paper_is_never_white(runtime: Runtime, browsing: Browsing) -> None:
    """Whatever moves over it while the job runs."""
    tab = browsing.open(runtime.page_api)
    tab.page.emulate_media(reduced_motion="no-preference")
    card = tab.submit(HANGING)
    expect(card.get_by_test_id("job-status")).to_have_text("In progress")
    paper = card.locator(".blank .print")
    for _ in range(6):
        image = Image.open(BytesIO(paper.screenshot())).convert("L")
        inner = image.crop((20, 20, image.width - 20, image.height - 20))
        brightest = ImageStat.Stat(inner).extrema[0][1]
        assert 200 < brightest < 240
    card.get_by_test_id("job-cancel").click()
    expect(card.get_by_test_id("job-status")).to_have_text("Cancelled")


def test_page_is_set_in_two_fonts_of_its_own(runtime: Runtime, browsing: Browsing) -> None:
    """Both are loaded from here, and no text uses another one."""
    tab = browsing.open(runtime.page_api)
    card = tab.submit("A ceramic mug [[reject]]")
    expect(card.get_by_test_id("job-status")).to_have_text("Failed")
    loaded = "[...document.fonts].filter(({ status }) => status === 'loaded').map((f) => f.family)"
    assert sorted(tab.page.evaluate(loaded)) == ["Literata", "Onest"]
    used = tab.page.evaluate(
        "[...new Set([...document.body.querySelectorAll('*')]"
        ".map((element) => getComputedStyle(element).fontFamily))]"
    )
    assert sorted(used) == ["Literata, serif", "Onest, sans-serif"]


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
    # What Swagger UI draws is not ours to check.
    browsing.screenshot(tab, "docs", full_page=True)
    tab.page.emulate_media(color_scheme="dark")
    expect(tab.page.locator("html")).to_have_class("dark-mode")
    tab.page.get_by_role("link", name="Back to Darkroom").click()
    expect(tab.page).to_have_url(f"{runtime.page_api.url}/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_of_the_page_are_small(
    runtime: Runtime, browsing: Browsing, scheme: Literal["light", "dark"]
) -> None:
    """One job runs and one is done; `make pictures` copies them to docs/images."""
    browsing.allow(r"/v1/previews/")
    api, mug = runtime.page_api, "A ceramic mug on a window sill, morning light"
    shoes = {"prompt": "Trail running shoes on a wet rock above the clouds", "style": "outdoor"}
    api.finish(api.submit(**shoes, size="512x512", n=4, seed=9))
    api.submit(f"{mug} [[preview]] [[slow:20]]", style="lifestyle", size="512x512", n=4, seed=2)
    tab = browsing.open(api)
    tab.page.set_viewport_size({"width": 1280, "height": 900})
    tab.page.emulate_media(color_scheme=scheme)
    tab.page.get_by_test_id("prompt").fill(mug)
    tab.page.get_by_test_id("prompt").blur()
    running, done = tab.card(mug), tab.card(shoes["prompt"])
    expect(running.get_by_test_id("job-progress")).to_have_attribute("value", "70")
    expect(running.get_by_test_id("job-preview")).to_have_count(4)
    wait_until_drawn(done.get_by_test_id("job-image").last, 512)
    path = browsing.screenshot(tab, f"page-{scheme}")
    assert path.stat().st_size < PICTURE_MAX_BYTES
    running.get_by_test_id("job-cancel").click()
    expect(running.get_by_test_id("job-status")).to_have_text("Cancelled")
