"""What README and docs have a reader type against a running API works as it stands there."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.support.runtime import Runtime
from tests.support.snippets import Shell, blocks_of_kind, page_name, pages_of_kind


@pytest.fixture(scope="module")
def own_settings() -> Mapping[str, str]:
    """Give time to pictures of the default size."""
    return {"SOFT_TIME_LIMIT": "60", "TIME_LIMIT": "70", "MOCK_STEP_SECONDS": "0.1"}


@pytest.mark.parametrize("page", pages_of_kind("http"), ids=page_name)
def test_commands_of_a_page_work_one_after_the_other(
    own_runtime: Runtime, page: Path, tmp_path: Path
) -> None:
    """On both runtimes, with what they print; only address and ids differ."""
    api = own_runtime.page_api
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "mug.jpg")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = Shell(
        {**own_runtime.environment, "PATH": programs, "DARKROOM_URL": api.url},
        tmp_path,
        {"localhost:8000": api.url.removeprefix("http://")},
        lambda job_id: api.finish({"id": job_id}),
    )
    for block in blocks_of_kind("http", page):
        shell.run(block)
    jobs = api.client.get("/v1/generations").json()["items"]
    assert jobs, "the page submits jobs"
