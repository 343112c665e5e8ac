"""What README tells people to write for a browser does what README says."""

import re

from playwright.sync_api import ConsoleMessage

from tests.support.browser import Browsing
from tests.support.readme import README
from tests.support.runtime import Runtime
from tests.support.wait import wait_until


def _snippet() -> str:
    """Return the first block of JavaScript in README that follows a job."""
    blocks: list[str] = re.findall(
        r"^```js\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL
    )
    following = [block for block in blocks if "EventSource" in block]
    assert following, "README shows no EventSource in a block of js"
    return following[0]


def test_snippet_of_readme_follows_a_job_to_its_pictures(
    runtime: Runtime, browsing: Browsing
) -> None:
    """As it stands there: every event is printed once, then the addresses of the images."""
    page = browsing.open(runtime.page_api).page
    lines: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "log":
            lines.append(message.text)

    page.on("console", hear)
    page.evaluate(f"async () => {{ {_snippet()} }}")

    def has_ended() -> bool:
        page.evaluate("0")  # lets what the page has said arrive
        return any("/v1/images/" in line for line in lines)

    wait_until(has_ended, 30, "the addresses of the images")
    (job,) = runtime.page_api.client.get("/v1/generations").json()["items"]
    told = runtime.steps(runtime.services.get(job["id"]))
    assert lines[:-1] == [f"{step.progress} {step.message}" for step in told]
    assert all(image["url"].partition("?")[0] in lines[-1] for image in job["images"])
