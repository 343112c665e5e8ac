"""Jobs on the page: submitted, followed, failed, retried, cancelled, seen in two tabs."""

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, expect

from tests.support.api import PAGE
from tests.support.browser import Browsing, wait_until_drawn
from tests.support.bucket import Bucket
from tests.support.faults import other_api, other_settings
from tests.support.images_api import png
from tests.support.runtime import Runtime
from tests.support.wait import wait_until


def test_job_is_submitted_followed_and_its_pictures_are_saved(
    runtime: Runtime, browsing: Browsing, tmp_path: Path
) -> None:
    """Every message was shown, and a saved file holds the very bytes of the image."""
    tab = browsing.open(runtime.page_api)
    tab.note_messages()
    card = tab.submit("A ceramic mug [[slow:3]]", style="lifestyle", size="512x512", count="3")
    expect(card.get_by_test_id("job-status")).to_have_text("In progress")
    browsing.picture(tab, "running")
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    expect(card.get_by_test_id("job-image")).to_have_count(3)
    job = tab.job_of(card)
    assert (job["style"], job["size"], job["n"]) == ("lifestyle", "512x512", 3)
    messages = [step.message for step in runtime.steps(runtime.services.get(job["id"]))]
    assert set(messages[:-1]) <= set(tab.noted_messages())
    for index, image in enumerate(job["images"]):
        with tab.page.expect_download() as saving:
            card.get_by_test_id("job-download").nth(index).click()
        path = tmp_path / saving.value.suggested_filename
        saving.value.save_as(path)
        assert path.suffix == ".png"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == image["sha256"]
        wait_until_drawn(card.get_by_test_id("job-image").nth(index), 512)
    browsing.picture(tab, "done")


def test_refused_form_says_which_field_is_wrong(runtime: Runtime, browsing: Browsing) -> None:
    """Next to the field, which then has the keyboard; no job was made."""
    browsing.allow(r"status of 422")
    tab = browsing.open(runtime.page_api)
    tab.page.get_by_test_id("prompt").fill("A ceramic mug")
    tab.page.get_by_test_id("count").fill("11")
    tab.page.get_by_test_id("submit").click()
    expect(tab.page.locator("#count-error")).not_to_be_empty()
    expect(tab.page.get_by_test_id("count")).to_be_focused()
    browsing.picture(tab, "refused")
    assert runtime.page_api.client.get("/v1/generations").json()["items"] == []


def test_failed_job_ends_visibly_with_its_reason(runtime: Runtime, browsing: Browsing) -> None:
    """In words, with the code that the API returns."""
    tab = browsing.open(runtime.page_api)
    card = tab.submit("A ceramic mug [[reject]]")
    expect(card).to_have_attribute("data-status", "failed")
    error = card.get_by_test_id("job-error")
    expect(error).to_contain_text("The prompt was rejected")
    expect(error).to_contain_text("The mock provider rejects this prompt")
    expect(error).to_contain_text("prompt_rejected")
    expect(card.get_by_test_id("job-status")).to_have_text("Failed")
    expect(card.get_by_test_id("job-cancel")).to_be_hidden()
    browsing.picture(tab, "failed")


def test_scenario_of_the_picker_happens(runtime: Runtime, browsing: Browsing) -> None:
    """It is offered where pictures cost nothing, and its tag is added to the prompt."""
    tab = browsing.open(runtime.page_api)
    picker = tab.page.get_by_label("Scenario")
    expect(picker).to_be_visible()
    picker.select_option("[[reject]]")
    tab.page.get_by_test_id("prompt").fill("A ceramic mug")
    tab.page.get_by_test_id("submit").click()
    card = tab.card("A ceramic mug")
    expect(card).to_have_attribute("data-status", "failed")
    assert tab.job_of(card)["prompt"] == "A ceramic mug [[reject]]"
    expect(card).to_contain_text("scenario reject")
    expect(card.get_by_role("heading")).to_have_text("A ceramic mug")
    browsing.picture(tab, "scenario")
    card.get_by_test_id("job-again").click()
    expect(tab.page.get_by_test_id("prompt")).to_have_value("A ceramic mug")
    expect(picker).to_have_value("[[reject]]")


def test_picture_of_a_product_is_uploaded_and_shown(
    runtime: Runtime, browsing: Browsing, tmp_path: Path
) -> None:
    """Once for all jobs that show it, and again by `Use again`; what is none is refused."""
    browsing.allow(r"status of 422")
    tab = browsing.open(runtime.page_api)
    broken, file = tmp_path / "broken.png", tmp_path / "mug.png"
    broken.write_bytes(png(30, 20)[:60])
    file.write_bytes(png(300, 200))
    tab.page.get_by_label("Reference image").set_input_files(broken)
    tab.page.get_by_test_id("prompt").fill("A ceramic mug")
    tab.page.get_by_test_id("submit").click()
    expect(tab.page.locator("#reference-error")).to_contain_text("is cut short")
    tab.page.get_by_label("Reference image").set_input_files(file)
    cards = [tab.submit(f"A ceramic mug {number}", size="512x512") for number in (1, 2)]
    for card in cards:
        expect(card.get_by_test_id("job-status")).to_have_text("Done")
        wait_until_drawn(card.get_by_test_id("job-image").first, 512)
    browsing.picture(tab, "reference")
    [asset] = {tab.job_of(card)["source_asset_id"] for card in cards}
    tab.page.reload()
    again = tab.card("A ceramic mug 1")
    again.get_by_test_id("job-again").click()
    expect(tab.page.locator("#reference-hint")).to_contain_text("The same as in the job")
    tab.page.get_by_test_id("prompt").fill("A ceramic mug 3")
    tab.page.get_by_test_id("submit").click()
    expect(tab.card("A ceramic mug 3").get_by_test_id("job-status")).to_have_text("Done")
    assert tab.job_of(tab.card("A ceramic mug 3"))["source_asset_id"] == asset


def test_pictures_of_a_bucket_are_shown(runtime: Runtime, browsing: Browsing) -> None:
    """The page may fetch them from there, and from nowhere else."""
    with (
        Bucket() as bucket,
        other_settings(runtime, **bucket.environment),
        other_api(runtime, bucket.environment, PAGE) as api,
    ):
        browsing.allow_host(bucket.origin)
        tab = browsing.open(api)
        card = tab.submit("A ceramic mug", size="512x512")
        expect(card.get_by_test_id("job-status")).to_have_text("Done")
        wait_until_drawn(card.get_by_test_id("job-image").first, 512)
        assert len(bucket.keys) == 1


def _seconds_left(retry: Locator) -> int:
    """Return what the countdown says; 0 once it is over."""
    text = retry.text_content() or ""
    found = re.search(r"starts in (\d+) s", text)
    return int(found.group(1)) if found else 0


def test_wait_for_a_retry_shows_its_reason_and_counts_down(
    runtime: Runtime, browsing: Browsing
) -> None:
    """Until the next attempt, which completes the job."""
    tab = browsing.open(runtime.page_api)
    card = tab.submit("A ceramic mug [[rate-limit:5]]")
    retry = card.get_by_test_id("job-retry")
    expect(retry).to_contain_text("The image provider was too busy")
    expect(card.get_by_test_id("job-status")).to_have_text("Waiting to retry")
    first = wait_until(lambda: _seconds_left(retry), 10, "a countdown")
    browsing.picture(tab, "retrying")
    wait_until(lambda: 0 < _seconds_left(retry) < first, 10, "the countdown to go down")
    expect(card.get_by_test_id("job-status")).to_have_text("Done")
    expect(retry).to_be_hidden()
    expect(card).to_contain_text("2 attempts")
    expect(card.get_by_test_id("job-image")).to_have_count(1)


def test_running_job_is_cancelled(runtime: Runtime, browsing: Browsing) -> None:
    """It ends, is called cancelled and not failed, and offers no second Cancel."""
    tab = browsing.open(runtime.page_api)
    card = tab.submit("A ceramic mug [[hang]]")
    expect(card.get_by_test_id("job-status")).to_have_text("In progress")
    card.get_by_test_id("job-cancel").click()
    expect(card.get_by_test_id("job-status")).to_have_text("Cancelled")
    expect(card.get_by_test_id("job-cancel")).to_be_hidden()
    browsing.picture(tab, "cancelled")
    assert tab.job_of(card)["error"]["code"] == "cancelled"


def test_two_tabs_follow_the_same_job_to_its_end(runtime: Runtime, browsing: Browsing) -> None:
    """One that was open before it and one that came later."""
    first = browsing.open(runtime.page_api)
    card = first.submit("A ceramic mug [[slow:6]]")
    second = browsing.open(runtime.page_api)
    twin = second.card("A ceramic mug [[slow:6]]")
    expect(twin.get_by_test_id("job-status")).to_have_text("In progress")
    for shown in (card, twin):
        expect(shown.get_by_test_id("job-status")).to_have_text("Done")
        expect(shown.get_by_test_id("job-image")).to_have_count(1)
    assert first.job_of(card)["id"] == second.job_of(twin)["id"]


def test_job_of_one_tab_is_seen_in_another_that_comes_to_the_front(
    runtime: Runtime, browsing: Browsing
) -> None:
    """It stands there in its course and ends there; no button is pressed."""
    first, second = browsing.open(runtime.page_api), browsing.open(runtime.page_api)
    expect(second.page.get_by_test_id("state")).to_be_visible()
    second.put_behind()
    card = first.submit("A ceramic mug [[slow:6]]")
    expect(card.get_by_test_id("job-status")).to_have_text("In progress")
    second.bring_to_front()
    twin = second.card("A ceramic mug [[slow:6]]")
    first.put_behind()
    expect(twin.get_by_test_id("job-status")).to_have_text("Done")
    first.bring_to_front()
    expect(card.get_by_test_id("job-status")).to_have_text("Done")


def test_page_works_below_a_path(runtime: Runtime, browsing: Browsing) -> None:
    """Also where the proxy leaves the path on; a job is followed, and its picture shown."""
    settings = {"PUBLIC_BASE_URL": "http://127.0.0.1/images"}
    with other_api(runtime, settings, PAGE) as api:
        tab = browsing.open(api, "/images")
        card = tab.submit("A ceramic mug")
        expect(card.get_by_test_id("job-status")).to_have_text("Done")
        expect(card.get_by_test_id("job-image")).to_have_count(1)
        paths = {urlsplit(address).path for address in browsing.addresses}
        assert all(path.startswith("/images") for path in paths), paths
        tab.page.get_by_role("link", name="API docs").click()
        expect(tab.page.get_by_text("/v1/generations").first).to_be_visible()
