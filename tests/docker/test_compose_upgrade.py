"""The upgrade and the way back, as docs/operations.md has them, between two releases."""

import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic

import httpx
import pytest

from tests.support.compose import PROJECT, Compose, run
from tests.support.snippets import blocks_of_kind, commands_of

OUTAGE_SECONDS = 30.0
"""Without an answer, at most, on a busy machine; with one `up` for all it was 121 s."""

GUIDE = PROJECT / "docs/operations.md"
OTHER_POSTGRES = "services: {postgres: {shm_size: 64m}}"


def commands() -> Iterator[list[str]]:
    """Yield the commands of the guide, without the program."""
    (block,) = blocks_of_kind("upgrade", GUIDE)
    for line in commands_of(block.text):
        for command in line.split(" && "):
            yield shlex.split(command.removeprefix("docker compose "))


@contextmanager
def watched(compose: Compose) -> Iterator[list[float]]:
    """Ask the API all the time; yields each time without an answer, in seconds."""
    over, outages = Event(), []

    def ask() -> None:
        answered_at = monotonic()
        while not over.wait(0.1):
            try:
                compose.client.get("/readyz", timeout=2).raise_for_status()
            except httpx.HTTPError:
                continue
            outages.append(monotonic() - answered_at)
            answered_at = monotonic()

    with ThreadPoolExecutor(1) as executor:
        asking = executor.submit(ask)
        try:
            yield outages
        finally:
            over.set()
            asking.result()


@pytest.fixture
def other_release(compose: Compose, tmp_path: Path) -> Iterator[Compose]:
    """Give the project as another release has it: another image, and another PostgreSQL."""
    (tmp_path / "other.yml").write_text(OTHER_POSTGRES)
    image = f"{compose.image}-other"
    run(["docker", "tag", compose.image, image])
    yield compose.changed(str(tmp_path / "other.yml"), DARKROOM_IMAGE=image)
    compose.up()
    run(["docker", "image", "rm", "--no-prune", image])


def test_a_running_job_outlives_an_upgrade_and_the_way_back(
    compose: Compose, other_release: Compose
) -> None:
    """In its first attempt; the API is unavailable for seconds only."""
    for release in (other_release, compose):
        job = compose.submit("a mug [[slow:9]]")
        compose.wait_for_progress(job)
        with watched(compose) as outages:
            for command in commands():
                release.run(*command)
        assert max(outages) < OUTAGE_SECONDS
        assert compose.finish(job)["status"] == "completed"
        assert compose.row(job)["attempt"] == 1
