"""What README tells people to write for a browser does what README says."""

import json
import os
import re
import subprocess
from collections.abc import Mapping

from playwright.sync_api import ConsoleMessage

from shared.status import QUEUED
from tests.support.browser import Browsing
from tests.support.readme import README
from tests.support.runtime import Runtime
from tests.support.wait import wait_until


def _block(language: str, mark: str) -> str:
    """Return the first block of a language in README that has the mark in it."""
    blocks: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL
    )
    marked = [block for block in blocks if mark in block]
    assert marked, f"README shows no {mark} in a block of {language}"
    return marked[0]


def _shell(command: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


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
    page.evaluate(f"async () => {{ {_block('js', 'EventSource')} }}")

    def has_ended() -> bool:
        page.evaluate("0")  # lets what the page has said arrive
        return any("/v1/images/" in line for line in lines)

    wait_until(has_ended, 30, "the addresses of the images")
    (job,) = runtime.page_api.client.get("/v1/generations").json()["items"]
    told = runtime.steps(runtime.services.get(job["id"]))
    assert lines[:-1] == [f"{step.progress} {step.message}" for step in told]
    assert all(image["url"].partition("?")[0] in lines[-1] for image in job["images"])


def test_curl_lines_of_readme_submit_and_follow_a_job(runtime: Runtime) -> None:
    """As they stand there, but for the address and the id."""
    path = {"PATH": os.environ["PATH"]}
    block = _block("sh", "curl -N").replace("localhost:8000", runtime.page_api.url)
    submit, follow, show = re.findall(r"^curl .*(?:\n +.*)*", block, re.MULTILINE)
    job = json.loads(_shell(submit, path))
    told = _shell(follow.replace("<id>", job["id"]), path)
    assert f"data: {QUEUED.as_json()}\n" in told
    runtime.page_api.finish(job)
    shown = json.loads(_shell(show.replace("<id>", job["id"]), path))
    assert (shown["status"], len(shown["images"])) == ("completed", 2)
