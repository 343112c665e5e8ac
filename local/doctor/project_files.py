"""The files of the project that the rules look at, each of which may be absent."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from local.doctor.compose_file import ComposeFile, load_compose
from local.doctor.facts import COMPOSE_NAME, LEAST, TEMPLATE_NAME, PythonClaim
from local.doctor.template_file import Template, load_template
from local.doctor.yaml_text import parse_yaml
from shared.errors import ConfigurationError

_VERSION = re.compile(r"3\.\d+")
_PYTHON_IMAGE = re.compile(r"\bpython:(3\.\d+)")


@dataclass(frozen=True)
class ProjectFiles:
    """What they say; see `Facts`."""

    compose: ComposeFile | None
    templates: tuple[Template, ...]
    python: tuple[PythonClaim, ...]


def read_project(folder: Path, environment: Mapping[str, str]) -> ProjectFiles:
    """Read the files in a folder.

    Args:
        folder: Where they are, or are not.
        environment: Fills in the variables of docker-compose.yml.

    Raises:
        ConfigurationError: One is there but cannot be read.
    """
    templates = tuple(_templates(folder))
    return ProjectFiles(
        load_compose(folder / COMPOSE_NAME, {**_dotenv(folder), **environment}),
        templates,
        tuple(_python_claims(folder, templates)),
    )


def _dotenv(folder: Path) -> dict[str, str]:
    """Return what compose takes from the file `.env` beside its own."""
    found = dotenv_values(folder / ".env") if (folder / ".env").is_file() else {}
    return {name: value for name, value in found.items() if value is not None}


def _templates(folder: Path) -> Iterator[Template]:
    deployments = dict(_deployments(folder / "samconfig.toml")) or {"": {}}
    for name, parameters in deployments.items():
        label = f"template ({name})" if name else "template"
        template = load_template(folder / TEMPLATE_NAME, parameters, label)
        if template is not None:
            yield template


def _deployments(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the environments of samconfig.toml with their parameters, each set of them once."""
    seen = []
    for name, commands in _read_toml(path).items():
        if not isinstance(commands, dict) or name == "default":
            continue
        parameters: dict[str, str] = {}
        for command in ("global", "build", "deploy"):
            options = commands.get(command, {}).get("parameters", {})
            parameters.update(_overrides(options.get("parameter_overrides", ())))
        if parameters not in seen:
            seen.append(parameters)
            yield name, parameters


def _overrides(given: str | Sequence[str]) -> Iterator[tuple[str, str]]:
    words = given.split() if isinstance(given, str) else given
    for word in words:
        name, _, value = word.partition("=")
        yield name, value.strip('"')


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error


def _python_claims(folder: Path, templates: Sequence[Template]) -> Iterator[PythonClaim]:
    project = _read_toml(folder / "pyproject.toml").get("project", {})
    if project.get("name") == "darkroom":
        words = " ".join(project.get("classifiers", ()))
        versions = frozenset(_VERSION.findall(words))
        yield PythonClaim("pyproject.toml", versions, is_all=True)
        least = frozenset(_VERSION.findall(project.get("requires-python", "")))
        yield PythonClaim(LEAST, least, is_all=False)
    dockerfile = folder / "Dockerfile"
    if dockerfile.is_file():
        images = frozenset(_PYTHON_IMAGE.findall(dockerfile.read_text(encoding="utf-8")))
        yield PythonClaim("Dockerfile", images, is_all=False)
    runtimes = {
        str(function.properties.get("Runtime")).removeprefix("python")
        for template in templates
        for function in template.functions
    }
    if runtimes:
        yield PythonClaim(TEMPLATE_NAME, frozenset(runtimes), is_all=False)
    tried: set[str] = set()
    for path in sorted((folder / ".github" / "workflows").glob("*.y*ml")):
        tried |= set(_named_in_workflow(_read_yaml(path)))
    if tried:
        # Together they try every version; what makes a release needs one.
        yield PythonClaim("workflows", frozenset(tried), is_all=True)


def _read_yaml(path: Path) -> Any:
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error


def _named_in_workflow(document: Any, key: str = "") -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            yield from _named_in_workflow(value, str(name))
    elif isinstance(document, list):
        for value in document:
            yield from _named_in_workflow(value, key)
    elif key.startswith("python") and _VERSION.fullmatch(str(document)):
        yield str(document)
