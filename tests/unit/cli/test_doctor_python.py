"""What `darkroom doctor` reads of Python's versions in the files of the project."""

from pathlib import Path

import pytest

from cli.doctor.facts import LEAST, TEMPLATE_NAME, Facts, PythonClaim
from cli.doctor.parts import part_of
from cli.doctor.project_rules import PROJECT_RULES
from cli.doctor.python_claims import python_claims
from cli.doctor.rule import Finding, examine
from cli.doctor.template_file import Template, load_template
from shared.errors import ConfigurationError

PROJECT = {
    "name": "darkroom",
    "requires-python": ">=3.12",
    "classifiers": ["Python :: 3.12", "Python :: 3.13", "Python :: 3.14"],
}

BUNDLES = """
PYTHON ?= python3
VERSION := 3.13
COMPILERS := python$(VERSION)
"""

MAKEFILE = """
COMPILE := pip compile --universal \\
\t--python-version 3.12
COMPILE_FUNCTION := pip compile --quiet \\
\t--python-version 3.13 --python-platform x86_64-manylinux_2_28 \\
\t--generate-hashes
"""

WORKFLOW = """
jobs:
  lint:
    steps: [{uses: setup-python, with: {python-version: "3.13"}}]
  test:
    strategy: {matrix: MATRIX}
    steps: [{uses: setup-python, with: {python-version: "${{ matrix.python }}"}}]
"""

TEMPLATE = """
Resources:
  Worker: {Type: AWS::Serverless::Function, Properties: {Runtime: RUNTIME}}
"""


def templates(folder: Path, runtime: str) -> list[Template]:
    """Return a template whose function runs on this version."""
    path = folder / TEMPLATE_NAME
    path.write_text(TEMPLATE.replace("RUNTIME", f"python{runtime}"))
    loaded = load_template(path, {})
    assert loaded is not None
    return [loaded]


def write(folder: Path, name: str, text: str) -> None:
    """Write a file of the project."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def examined(folder: Path, runtime: str = "3.13") -> Finding:
    """Return what the rule says of the files in a folder."""
    claims = tuple(python_claims(folder, PROJECT, templates(folder, runtime)))
    facts = Facts(environment=part_of({}), celery="not asked", python=claims)
    (finding,) = examine([rule for rule in PROJECT_RULES if rule.name == "python"], facts)
    return finding


def faults(finding: Finding) -> dict[str, str | None]:
    """Return what is wrong, by the files."""
    return {reading.where: reading.fault for reading in finding.faults}


def test_every_file_that_is_there_is_read(tmp_path: Path) -> None:
    """Of the Makefile only what is locked for one platform: the rest serves every machine."""
    write(tmp_path, "Dockerfile", "FROM python:3.13-slim AS build\nFROM python:3.13-slim\n")
    write(tmp_path, "cloud/bundle.mk", BUNDLES)
    write(tmp_path, "Makefile", MAKEFILE)
    write(
        tmp_path, ".github/workflows/ci.yml", WORKFLOW.replace("MATRIX", "{python: [3.12, 3.13]}")
    )
    one = frozenset({"3.13"})
    assert list(python_claims(tmp_path, PROJECT, templates(tmp_path, "3.13"))) == [
        PythonClaim("pyproject.toml", frozenset({"3.12", "3.13", "3.14"}), is_all=True),
        PythonClaim(LEAST, frozenset({"3.12"}), is_all=False),
        PythonClaim("Dockerfile", one, is_all=False),
        PythonClaim(TEMPLATE_NAME, one, is_all=False),
        PythonClaim("cloud/bundle.mk", one, is_all=False, same_as=TEMPLATE_NAME),
        PythonClaim("Makefile", one, is_all=False, same_as=TEMPLATE_NAME),
        PythonClaim("ci.yml: matrix of test", frozenset({"3.12", "3.13"}), is_all=True),
        PythonClaim("workflows", one, is_all=False),
    ]


def test_bundles_are_made_for_the_python_that_runs_them(tmp_path: Path) -> None:
    """Wheels for another one are only missed on Lambda."""
    write(tmp_path, "cloud/bundle.mk", BUNDLES)
    write(tmp_path, "Makefile", MAKEFILE)
    assert faults(examined(tmp_path)) == {}
    said = "template.yaml says 3.14"
    assert faults(examined(tmp_path, "3.14")) == {"cloud/bundle.mk": said, "Makefile": said}


def test_bundles_whose_python_cannot_be_read_are_no_sound_ones(tmp_path: Path) -> None:
    """Whoever renames the variable hears of it."""
    write(tmp_path, "cloud/bundle.mk", BUNDLES.replace("VERSION :=", "RELEASE :="))
    write(tmp_path, "Makefile", MAKEFILE.replace("3.13", "$(RELEASE)"))
    said = "not supported by pyproject.toml: none named"
    assert faults(examined(tmp_path)) == {"cloud/bundle.mk": said, "Makefile": said}


@pytest.mark.parametrize(
    ("matrix", "fault"),
    [
        ("{python: [3.12, 3.13, 3.14], os: [ubuntu]}", None),
        ("{python: [3.12, 3.14], include: [{python: 3.13, os: macos}]}", None),
        ("{python: [3.12, 3.14]}", "missing: 3.13"),
        ("{python: [3.12, 3.13, 3.14], exclude: [{python: 3.13}]}", "missing: 3.13"),
        ("{python: [3.12, 3.13, 3.14], exclude: [{python: 3.13, os: macos}]}", None),
    ],
)
def test_a_matrix_tries_every_version_by_itself(
    matrix: str, fault: str | None, tmp_path: Path
) -> None:
    """Whatever other jobs run on."""
    write(tmp_path, ".github/workflows/ci.yml", WORKFLOW.replace("MATRIX", matrix))
    expected = {} if fault is None else {"ci.yml: matrix of test": fault}
    assert faults(examined(tmp_path)) == expected


def test_workflows_without_a_matrix_try_one_version(tmp_path: Path) -> None:
    """The others are then missing."""
    write(tmp_path, ".github/workflows/ci.yml", WORKFLOW.replace("MATRIX", "{os: [ubuntu]}"))
    assert faults(examined(tmp_path)) == {"workflows": "missing: 3.12, 3.14"}


@pytest.mark.parametrize("name", [".github/workflows/ci.yml", "cloud/bundle.mk"])
def test_a_file_that_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    """In one line that names it."""
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(b"\xff\xfe: [")
    with pytest.raises(ConfigurationError, match=Path(name).name):
        list(python_claims(tmp_path, PROJECT, templates(tmp_path, "3.13")))
