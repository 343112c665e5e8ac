"""All files speak of the same versions of Python: which are supported, built for and tried."""

import re
import tomllib
from collections.abc import Iterator, Mapping

import pytest
import yaml

from tests.support.template import PROJECT

WORKFLOW = ".github/workflows/ci.yml"
PATTERNS = {
    "Dockerfile": r"\bpython:(3\.\d+)",
    "template.yaml": r"\bRuntime: python(3\.\d+)",
    "cloud/bundle.mk": r"(?m)^VERSION\s*:?=\s*(3\.\d+)\s*$",
    # What is locked for one platform is locked for Lambda; the other locks serve every machine.
    "Makefile": r"--python-version (3\.\d+) --python-platform",
    WORKFLOW: r"python-version: \"?(3\.\d+)",
}
OF_LAMBDA = ("template.yaml", "cloud/bundle.mk", "Makefile")
"""What builds bundles is for the version that runs them."""

BREAKS = [
    ("pyproject.toml", 'requires-python = ">=3.11"', 'requires-python = ">=3.12"', "the oldest"),
    ("template.yaml", "Runtime: python3.13", "Runtime: python3.9", "template.yaml: 3.9 is not"),
    ("template.yaml", "Runtime: python3.13", "Runtime: python3.14", "not for the same version"),
    ("cloud/bundle.mk", "VERSION :=", "RELEASE :=", "cloud/bundle.mk: no version"),
    ("Makefile", "3.13 --python-platform", "3.12 --python-platform", "not for the same version"),
    ("Dockerfile", "python:3.", "python:2.", "Dockerfile: no version"),
    (WORKFLOW, 'python: ["3.11", "3.12", ', 'python: ["3.11", ', "not tried: 3.12"),
    # Other jobs of the workflow run on 3.13: they do not stand for the tests.
    (WORKFLOW, '"3.13", "3.14"]', '"3.14"]', "not tried: 3.13"),
    (WORKFLOW, "matrix:\n        python: ", "matrix:\n        os: ", "not tried: 3.11"),
    (WORKFLOW, "      matrix:\n", "      matrix:\n        exclude: []\n", "more than Python"),
]
"""A file, what is changed in it, and what must then be said."""


def faults(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield what does not agree, given the texts of the files."""
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    supported = set(re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"])))
    oldest = min(supported, key=lambda version: int(version.partition(".")[2]))
    if project["requires-python"] != f">={oldest}":
        yield f"requires-python is not the oldest of the classifiers, {oldest}"
    found = {name: set(re.findall(pattern, texts[name])) for name, pattern in PATTERNS.items()}
    for name, versions in found.items():
        if not versions:
            yield f"{name}: no version"
        yield from (f"{name}: {version} is not supported" for version in versions - supported)
    if len(set().union(*(found[name] for name in OF_LAMBDA))) != 1:
        yield f"{', '.join(OF_LAMBDA)}: not for the same version"
    matrix = yaml.safe_load(texts[WORKFLOW])["jobs"]["test"]["strategy"]["matrix"]
    if set(matrix) != {"python"}:
        yield "the matrix of the tests holds more than Python"
    yield from (f"not tried: {version}" for version in supported - set(matrix.get("python", ())))


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Give the texts of the files."""
    return {name: (PROJECT / name).read_text() for name in ("pyproject.toml", *PATTERNS)}


def test_all_files_agree(texts: dict[str, str]) -> None:
    """On the classifiers of pyproject.toml."""
    assert list(faults(texts)) == []


@pytest.mark.parametrize(("name", "old", "new", "fault"), BREAKS)
def test_a_file_that_disagrees_is_named(
    texts: dict[str, str], name: str, old: str, new: str, fault: str
) -> None:
    """With what is wrong."""
    assert old in texts[name]
    changed = {**texts, name: texts[name].replace(old, new)}
    assert fault in "\n".join(faults(changed))
