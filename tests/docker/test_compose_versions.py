"""docker-compose.yml under each compose of this machine: the plugin, and the older program."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.support.compose import FILE, PLUGIN, PROGRAM, Compose, run

SERVERS = ("redis", "postgres", "api", "worker", "beat")


@pytest.fixture(scope="module")
def program() -> str:
    """Give the name of the first compose, the program of version 1.29; skip where there is none."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"nothing was tried with compose 1.29: no {PROGRAM} on this machine")
    version = run([PROGRAM, "version", "--short"]).strip()
    if not version.startswith("1."):
        pytest.skip(f"nothing was tried with compose 1.29: {PROGRAM} is {version} here")
    return PROGRAM


@pytest.fixture
def project(program: str, layers: None) -> Iterator[Compose]:
    """Give a project of its own, which nothing has started yet."""
    project = Compose(f"darkroom-first-{os.getpid()}", program)
    try:
        yield project
    finally:
        project.destroy()


def assert_is_accepted(command: list[str]) -> None:
    """Check that compose has nothing to say against the file, whatever the profile."""
    for profile in ([], ["--profile", "flower"], ["--profile", "monitoring"]):
        run([*command, "--file", FILE, *profile, "config", "--quiet"])


def test_the_plugin_accepts_the_file() -> None:
    """Whichever version it is."""
    assert_is_accepted(PLUGIN.split())


def test_compose_1_29_accepts_the_file(program: str) -> None:
    """Its schema is older than the specification."""
    assert_is_accepted([program])


def test_compose_1_29_runs_a_job(project: Compose) -> None:
    """It builds the image, starts everything in order, and leaves nothing behind.

    It knows no `--wait`.
    """
    project.run("up", "--detach")
    project.wait_until_healthy(*SERVERS)
    job = project.finish(project.submit("a red mug"))
    assert job["status"] == "completed"
    (image,) = project.images(job)
    assert image["url"] == job["images"][0]["url"].partition("?")[0]
