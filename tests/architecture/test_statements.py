"""The SQL: one statement a file beside its store, carried by everything that is deployed."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
STATEMENTS = sorted(path.relative_to(PROJECT) for path in PROJECT.glob("shared/*/sql/*.sql"))
DATA = {str(path) for path in (*STATEMENTS, Path("shared/events/append.lua"))}

COPY = "include cloud/bundle.mk\ncopied: ; @$(call copy,--exclude=shared/api)\n"


def strings_of(folder: Path) -> set[str]:
    """Return all strings that the modules of a folder hold."""
    return {
        node.value
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("path", STATEMENTS, ids=str)
def test_a_file_holds_one_statement_and_says_what_it_guarantees(path: Path) -> None:
    """Its comment comes first; a store beside it names it."""
    text = (PROJECT / path).read_text("utf-8")
    lines = text.splitlines()
    assert lines[0].startswith("-- ")
    assert ";" not in "".join(line for line in lines if not line.lstrip().startswith("--"))
    assert path.stem in strings_of(PROJECT / path.parents[1])


def test_a_store_names_only_statements_that_there_are() -> None:
    """They are read at their first use: a wrong name would be noticed late."""
    missing = [
        (str(path), ast.unparse(node))
        for path in (PROJECT / "shared").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("run", "self._run")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
        and not path.with_name("sql").joinpath(f"{node.args[0].value}.sql").is_file()
    ]
    assert missing == []


def test_the_wheel_holds_the_statements(tmp_path: Path) -> None:
    """The container image installs it."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", str(tmp_path)], cwd=PROJECT, check=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) >= DATA


def test_the_bundle_of_a_function_holds_the_statements(tmp_path: Path) -> None:
    """`sam build` copies the packages as they lie here."""
    subprocess.run(
        ["make", "--file", "-", "copied"],
        input=COPY,
        env={**os.environ, "ARTIFACTS_DIR": str(tmp_path)},
        cwd=PROJECT,
        text=True,
        check=True,
        timeout=60,
    )
    copied = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert copied >= DATA
