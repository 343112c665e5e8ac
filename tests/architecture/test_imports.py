"""Who may import whom: the contracts of pyproject.toml, and what a process really loads."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SERVERS = {"DATABASE_URL": "postgresql://u@localhost/d", "REDIS_URL": "redis://localhost/0"}
AWS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "QUEUE_URL": "http://localhost/q",
}


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project, in a process of its own."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def modules_after(statement: str, **environment: str) -> set[str]:
    """Return the packages that a process has loaded after a statement."""
    program = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    done = run("-c", program, **environment)
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(names) | {name.partition(".")[0] for name in names}


def test_the_import_contracts_are_kept() -> None:
    """Layers, independence of siblings, and what each may not know."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = run("-c", program, "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_functions_load_nothing_of_the_other_runtime() -> None:
    """Every library of it would lengthen each cold start; so would the mapped classes."""
    loaded = modules_after("import functions.worker, functions.reaper", **SERVERS, **AWS)
    assert not loaded & {"celery", "kombu", "billiard", "local", "PIL", "alembic", "httpx"}
    assert "shared.jobs.tables" not in loaded


@pytest.mark.parametrize("function", ["worker", "api", "reaper"])
def test_no_function_loads_a_provider_before_it_is_used(function: str) -> None:
    """In mock mode; what a provider declares is read without its SDK and the drawing library."""
    loaded = modules_after(f"import functions.{function}", **SERVERS, **AWS)
    assert {"shared.imaging.providers.openai", "shared.imaging.providers.mock"} <= loaded
    assert not loaded & {"openai", "httpx", "httpx2", "PIL", "shared.imaging.mock_print"}


@pytest.mark.parametrize(
    "statement",
    [
        "import functions.worker as f; f.jobs",
        "import functions.reaper as f; f.sender()",
        "import functions.api",
        "import functions.migrate",
        "import local.worker.tasks, local.worker.sweeping as s, local.worker.memory as m;"
        " m.load_job_code(local.worker.tasks.settings)",
        "import local.web.serve as s; from shared.settings import load_settings;"
        " s.Api(load_settings())",
    ],
)
def test_no_process_loads_opentelemetry_unless_it_is_on(statement: str) -> None:
    """Except for its names, which FastAPI imports by itself."""
    loaded = modules_after(statement, **SERVERS, **AWS, API_PORT="0")
    by_fastapi = modules_after("import fastapi") if "fastapi" in loaded else set()
    assert {name for name in loaded - by_fastapi if name.startswith("opentelemetry")} == set()
    assert "opentelemetry.sdk" not in loaded


def test_shared_names_no_runtime_not_even_in_a_string() -> None:
    """What both runtimes build on must not change when one of them does."""
    name = re.compile(r"\b(local|functions|cli|devkit)\.[a-z_]")
    naming = [
        (str(path.relative_to(PROJECT)), node.lineno)
        for path in (PROJECT / "shared").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if name.search(node.value)
    ]
    assert naming == []


def test_the_composition_root_knows_no_runtime() -> None:
    """A program that submits jobs brings in no more than it uses."""
    loaded = modules_after("import shared.wiring")
    assert not loaded & {"celery", "kombu", "boto3", "botocore", "fastapi", "mangum", "uvicorn"}


def test_importing_shared_needs_no_environment_and_makes_nothing() -> None:
    """No client, engine or settings object exists before it is used."""
    modules = sorted(
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in (PROJECT / "shared").rglob("*.py")
        if not {"migrations", "__init__.py"} & set(path.parts)
    )
    program = (
        f"import gc, {', '.join(modules)}; from redis import Redis; from sqlalchemy import Engine;"
        " from shared.settings import Settings;"
        " print([o for o in gc.get_objects() if type(o) in (Redis, Engine, Settings)])"
    )
    done = run("-c", program)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("entry", ["local.celery_app", "functions.worker"])
def test_an_entry_point_says_in_one_line_what_is_not_set(entry: str) -> None:
    """The line names the setting."""
    done = run("-c", f"import {entry}", **AWS)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "DATABASE_URL is not set; REDIS_URL is not set" in last
