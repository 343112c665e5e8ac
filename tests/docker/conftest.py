"""Image, containers and bundles: made once, one project for the session, gone at its end."""

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.compose import Compose, build_image
from tests.support.sam_ground import sam


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give containers the time they need: a start alone may take half a minute."""
    for item in items:
        item.add_marker(pytest.mark.timeout(420))


@pytest.fixture(autouse=True, scope="session")
def ended_in_order() -> Iterator[None]:
    """Take everything down also when the session is told to stop."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def compose(clean_environment: None) -> Iterator[Compose]:
    """Give the project, up and healthy: its own network, volumes and free ports."""
    build_image()
    project = Compose(f"darkroom-test-{os.getpid()}")
    try:
        project.up()
        yield project
    finally:
        project.destroy()


@pytest.fixture(scope="session")
def bundles(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the template that names what `sam local` runs; all processes of the suite share it.

    Whichever needs it first builds it, and the others wait.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "bundles"
    with (shared / "bundles.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "template.yaml").exists():
            done = sam("build", "--build-dir", str(folder))
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / "template.yaml"
