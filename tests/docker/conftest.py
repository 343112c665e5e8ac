"""Image, containers and bundles, made by the suite and gone at its end."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.compose import Compose
from tests.support.sam_ground import sam

LIMIT_SECONDS = 45 * 60
"""For each test with its fixtures: more than all its commands and waits may take by their own
limits, which say what it was that took too long. The longest: image 600 s, `up` 240, bundles 360,
invocation 360, `stop` and `up` 480, jobs 4 times 90."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give containers the time they need."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture(autouse=True, scope="session")
def ended_in_order() -> Iterator[None]:
    """Take everything down also when the session receives SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@contextmanager
def one_by_one(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let one process of the suite in at a time, and give it the folder that all share."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield shared


@pytest.fixture(scope="session")
def layers(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have all layers of the image in Docker's cache: every project then builds it in seconds.

    Whichever process needs it first builds it, and the others wait.
    """
    with one_by_one("layers", tmp_path_factory) as folder:
        if not (folder / "layers").exists():
            project = Compose(f"darkroom-build-{os.getpid()}")
            try:
                project.build()
            finally:
                project.destroy()
            (folder / "layers").touch()


@pytest.fixture(scope="session")
def compose(layers: None) -> Iterator[Compose]:
    """Give the project, up and healthy: its own network, volumes, image and free ports.

    It is brought up by the command that the README begins with.
    """
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
    with one_by_one("bundles", tmp_path_factory) as shared:
        folder = shared / "bundles"
        if not (folder / "template.yaml").exists():
            done = sam("build", "--build-dir", str(folder))
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / "template.yaml"
