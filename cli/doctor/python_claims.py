"""What the files of the project say of Python: which versions they support, build for and try."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cli.doctor.facts import LEAST, TEMPLATE_NAME, PythonClaim
from cli.doctor.template_file import Template
from cli.doctor.yaml_text import parse_yaml
from shared.errors import ConfigurationError

_VERSION = re.compile(r"3\.\d+")
_PYTHON_IMAGE = re.compile(r"\bpython:(3\.\d+)")
_BUNDLE_VERSION = re.compile(r"^VERSION\s*:?=\s*(3\.\d+)\s*$", re.MULTILINE)
_COMPILED_FOR = re.compile(r"--python-version[ =](3\.\d+)\b")


def python_claims(
    folder: Path, project: Mapping[str, Any], templates: Sequence[Template]
) -> Iterator[PythonClaim]:
    """Yield what each file says, of those that are there.

    Args:
        folder: Where the files are, or are not.
        project: The table `project` of pyproject.toml.
        templates: What template.yaml makes.

    Raises:
        ConfigurationError: A file is there but cannot be read.
    """
    if project.get("name") == "darkroom":
        words = " ".join(project.get("classifiers", ()))
        versions = frozenset(_VERSION.findall(words))
        yield PythonClaim("pyproject.toml", versions, is_all=True)
        least = frozenset(_VERSION.findall(project.get("requires-python", "")))
        yield PythonClaim(LEAST, least, is_all=False)
    dockerfile = _text_of(folder / "Dockerfile")
    if dockerfile is not None:
        images = frozenset(_PYTHON_IMAGE.findall(dockerfile))
        yield PythonClaim("Dockerfile", images, is_all=False)
    runtimes = {
        str(function.properties.get("Runtime")).removeprefix("python")
        for template in templates
        for function in template.functions
    }
    if runtimes:
        yield PythonClaim(TEMPLATE_NAME, frozenset(runtimes), is_all=False)
        yield from bundle_claims(folder)
    yield from _workflow_claims(folder / ".github" / "workflows")


def bundle_claims(folder: Path) -> Iterator[PythonClaim]:
    """Yield for which version the packages of the functions are chosen, and their wheels taken."""
    rules = _text_of(folder / "cloud" / "bundle.mk")
    if rules is not None:
        wheels = frozenset(_BUNDLE_VERSION.findall(rules))
        yield PythonClaim("cloud/bundle.mk", wheels, is_all=False, same_as=TEMPLATE_NAME)
    makefile = _text_of(folder / "Makefile") or ""
    # What is locked for one platform is locked for Lambda; the other locks serve every machine.
    for line in makefile.replace("\\\n", " ").splitlines():
        if "--python-platform" in line:
            locked = frozenset(_COMPILED_FOR.findall(line))
            yield PythonClaim("Makefile", locked, is_all=False, same_as=TEMPLATE_NAME)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error


def _workflow_claims(folder: Path) -> Iterator[PythonClaim]:
    """Yield what each matrix tries, and apart from it what other jobs use.

    A job that builds or lints needs one version, so that it must not stand for one that the
    tests leave out.
    """
    used: set[str] = set()
    has_matrix = False
    for path in sorted(folder.glob("*.y*ml")):
        for name, job in _jobs(path):
            tried = _tried(job)
            if tried:
                has_matrix = True
                yield PythonClaim(f"{path.name}: matrix of {name}", tried, is_all=True)
            used |= set(_named(job)) - tried
    if used:
        yield PythonClaim("workflows", frozenset(used), is_all=not has_matrix)


def _jobs(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        document = parse_yaml(_text_of(path) or "")
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error
    jobs = document.get("jobs") if isinstance(document, dict) else None
    yield from (jobs.items() if isinstance(jobs, dict) else ())


def _tried(job: Any) -> frozenset[str]:
    """Return the versions in the matrix of a job, but for those that it excludes altogether."""
    strategy = job.get("strategy") if isinstance(job, dict) else None
    matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
    if not isinstance(matrix, dict):
        return frozenset()
    listed = _named({name: value for name, value in matrix.items() if name != "exclude"})
    excluded = (entry for entry in matrix.get("exclude") or () if len(entry) == 1)
    return frozenset(listed) - frozenset(_named(list(excluded)))


def _named(document: Any, key: str = "") -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            yield from _named(value, str(name))
    elif isinstance(document, list):
        for value in document:
            yield from _named(value, key)
    elif key.startswith("python") and _VERSION.fullmatch(str(document)):
        yield str(document)
