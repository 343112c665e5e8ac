"""The files of the project that the rules look at, each of which may be absent."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from cli.doctor.compose_file import ComposeFile, load_compose
from cli.doctor.facts import COMPOSE_NAME, TEMPLATE_NAME, PythonClaim
from cli.doctor.python_claims import python_claims
from cli.doctor.template_file import Template, load_template
from shared.errors import ConfigurationError


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
    project = _read_toml(folder / "pyproject.toml").get("project", {})
    return ProjectFiles(
        load_compose(folder / COMPOSE_NAME, {**_dotenv(folder), **environment}),
        templates,
        tuple(python_claims(folder, project, templates)),
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
