"""Clients that are not ours: generated of the OpenAPI document, and OpenAI's own SDK."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devkit.runtimes import RUNTIMES
from tests.support.runtime import Runtime
from tests.support.tidiness import tidy

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
TOOLS = PROJECT / ".clients"
"""The generators, and what their clients need: `make .clients/.ready`."""


@pytest.fixture
def runtime(runtime_named: Callable[[str], Runtime]) -> Iterator[Runtime]:
    """Give a runtime; the contract tests show that both answer the same."""
    with tidy(runtime_named("celery")) as runtime:
        yield runtime


@pytest.fixture
def folder(runtime: Runtime, tmp_path: Path) -> Path:
    """Give a folder with the document, the programs of this folder, and the packages of npm."""
    document = runtime.api.client.get("/openapi.json")
    (tmp_path / "openapi.json").write_bytes(document.content)
    for path in HERE.glob("*.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    return tmp_path


def run(runtime: Runtime, folder: Path, *command: str) -> str:
    """Run a command that finds the generators, and return what it prints."""
    paths = [TOOLS / "bin", folder / "node_modules/.bin", os.environ["PATH"]]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(map(str, paths)),
        "API_URL": runtime.api.url,
        "API_KEY": runtime.api.keys["default"],
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_typescript_clients_compile_and_run_a_job(runtime: Runtime, folder: Path) -> None:
    """With a body of the prompt alone, and the codes of problems as a type."""
    run(runtime, folder, "openapi-typescript", "openapi.json", "-o", "schema.d.ts")
    run(runtime, folder, "openapi-ts")
    run(runtime, folder, "tsc")
    for program in ("openapi_fetch", "hey_api"):
        assert run(runtime, folder, "node", f"out/{program}.js") == "Completed\n"


@pytest.mark.parametrize("name", RUNTIMES)
def test_openai_sdk_for_javascript_makes_images(
    name: str, runtime_named: Callable[[str], Runtime], tmp_path: Path
) -> None:
    """Unmodified, as the contract tests have it of the one for Python."""
    shutil.copy(HERE / "openai_sdk.ts", tmp_path)
    shutil.copy(HERE / "package.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    options = ("--strict", "--target", "es2022", "--module", "nodenext", "--types", "node")
    with tidy(runtime_named(name)) as runtime:
        run(runtime, tmp_path, "tsc", *options, "--outDir", "out", "openai_sdk.ts")
        assert run(runtime, tmp_path, "node", "out/openai_sdk.js") == "Completed\n"


def test_a_python_client_compiles_and_runs_a_job(runtime: Runtime, folder: Path) -> None:
    """Its types are complete, as mypy finds."""
    run(
        *(runtime, folder, "openapi-python-client", "generate"),
        *("--path", "openapi.json", "--meta", "none", "--output-path", "darkroom_client"),
    )
    mypy = str(PROJECT / ".venv/bin/mypy")
    run(
        *(runtime, folder, mypy, "--strict", "--follow-imports=silent"),
        *("--python-executable", str(TOOLS / "bin/python"), "python_client.py"),
    )
    assert run(runtime, folder, "python", "python_client.py") == "Completed\n"
