"""`darkroom demo` with a real provider: everything but the remote end, over real HTTP."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.support.cli import darkroom, tidy_environment
from tests.support.images_api import ImagesApi

BOTH_RUNTIMES = pytest.mark.parametrize("runtime", ["celery", "lambda"])


@pytest.fixture
def images_api() -> Iterator[ImagesApi]:
    """Give the provider's server."""
    with ImagesApi() as api:
        yield api


@pytest.fixture
def environment(images_api: ImagesApi) -> Iterator[Mapping[str, str]]:
    """Give an environment in which the demo calls the provider's server."""
    with tidy_environment() as environment:
        yield {**environment, **images_api.environment}


@BOTH_RUNTIMES
def test_demo_runs_for_real(
    runtime: str, environment: Mapping[str, str], images_api: ImagesApi, tmp_path: Path
) -> None:
    """One call, and its pictures in the folder."""
    arguments = ("demo", "--runtime", runtime, "--prompt", "A real mug", "--out", "out")
    done = darkroom(environment, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    [call] = images_api.calls
    assert (call.n, call.body["model"]) == (2, "gpt-image-2.5-flare")
    paths = re.findall(r"^(out/\S+\.png)  1024 x 1024 px", done.stdout, re.MULTILINE)
    assert len(paths) == 2
    for path in paths:
        with Image.open(tmp_path / path) as picture:
            picture.load()


@BOTH_RUNTIMES
def test_demo_says_in_one_line_why_the_provider_refuses(
    runtime: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """And does not exit with 0."""
    arguments = ("demo", "--runtime", runtime, "--prompt", "A mug <<forbidden>>", "--out", "out")
    done = darkroom(environment, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "darkroom: the job failed: The image provider refused the API key"
        " (provider_authentication)\n"
    )


@pytest.mark.parametrize("runtime", ["celery", "lambda"])
def test_demo_without_a_key_says_which_setting_is_missing(
    runtime: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Before anything is started."""
    without = {name: value for name, value in environment.items() if name != "OPENAI_API_KEY"}
    done = darkroom(without, "demo", "--runtime", runtime, "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("darkroom: settings: OPENAI_API_KEY is not set")
    assert done.stderr.count("\n") == 1
