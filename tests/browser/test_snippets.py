"""What README and docs have a reader write for a browser works as it stands there."""

from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage

from tests.support.browser import Browsing
from tests.support.runtime import Runtime
from tests.support.snippets import blocks_of_kind, page_name, pages_of_kind
from tests.support.wait import wait_until


@pytest.mark.parametrize("page", pages_of_kind("browser"), ids=page_name)
def test_script_of_a_page_follows_a_job_to_its_images(
    runtime: Runtime, browsing: Browsing, page: Path
) -> None:
    """Every event is printed once, then the addresses of the images."""
    tab = browsing.open(runtime.page_api).page
    lines: list[str] = []

    def keep(message: ConsoleMessage) -> None:
        if message.type == "log":
            lines.append(message.text)

    tab.on("console", keep)
    (block,) = blocks_of_kind("browser", page)
    tab.evaluate(f"async () => {{ {block.text} }}")

    def has_ended() -> bool:
        tab.evaluate("0")  # gives the messages of the console time to arrive
        return any("/v1/images/" in line for line in lines)

    wait_until(has_ended, 30, "the addresses of the images")
    (job,) = runtime.page_api.client.get("/v1/generations").json()["items"]
    steps = runtime.steps(runtime.services.get(job["id"]))
    assert lines[:-1] == [f"{step.progress} {step.message}" for step in steps]
    assert all(image["url"].partition("?")[0] in lines[-1] for image in job["images"])
