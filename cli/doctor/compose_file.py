"""docker-compose.yml as the rules see it: services, their roles, environments and limits."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cli.doctor.interpolation import interpolate
from cli.doctor.parts import Part
from cli.doctor.quantities import bytes_of, seconds_of
from cli.doctor.yaml_text import parse_yaml
from shared.errors import ConfigurationError

STOP_GRACE_SECONDS = 10.0
"""What a container gets between SIGTERM and SIGKILL unless the file says more (Compose
Specification, `stop_grace_period`)."""


@dataclass(frozen=True)
class Service:
    """One service.

    Attributes:
        options: What the file says of it.
        outside: The environment of whoever starts it.
    """

    name: str
    options: Mapping[str, Any]
    outside: Mapping[str, str]

    @property
    def where(self) -> str:
        """What the report calls it."""
        return f"compose {self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """All variables that it names, with a value or without."""
        return tuple(self._entries)

    @property
    def environment(self) -> dict[str, str]:
        """Its variables; one without a value is handed on if it is set outside."""
        entries = self._entries.items()
        given = {name: self.outside.get(name) if text is None else text for name, text in entries}
        return {name: text for name, text in given.items() if text is not None}

    @property
    def _entries(self) -> dict[str, str | None]:
        given = self.options.get("environment") or {}
        if isinstance(given, list):
            words = (str(entry).partition("=") for entry in given)
            return {name: text if equals else None for name, equals, text in words}
        return {
            str(name): None if value is None else _as_text(value) for name, value in given.items()
        }

    @property
    def command(self) -> list[str]:
        """The words of its entry point and command."""
        words: list[str] = []
        for name in ("entrypoint", "command"):
            given = self.options.get(name) or []
            words += shlex.split(given) if isinstance(given, str) else map(str, given)
        return words

    @property
    def stop_grace_seconds(self) -> float | None:
        """Seconds between SIGTERM and SIGKILL; None if they cannot be read."""
        given = self.options.get("stop_grace_period")
        return STOP_GRACE_SECONDS if given is None else seconds_of(given)

    @property
    def memory_bytes(self) -> int | None:
        """Its memory limit; None without one."""
        limits = (self.options.get("deploy") or {}).get("resources", {}).get("limits", {})
        return bytes_of(self.options.get("mem_limit", limits.get("memory")))

    @property
    def ports(self) -> list[str]:
        """Its published ports, as `address:port:port`; an address that is not given is empty."""
        return [_port(port) for port in self.options.get("ports") or ()]

    @property
    def waits_for(self) -> dict[str, str]:
        """The services that it starts after, and the condition of each."""
        given = self.options.get("depends_on") or {}
        if isinstance(given, list):
            return dict.fromkeys(given, "service_started")
        return {name: entry.get("condition", "service_started") for name, entry in given.items()}

    def find_option(self, name: str) -> str | None:
        """Return the value of a long option of its command, as `--maxmemory 256mb`."""
        words = self.command
        for index, word in enumerate(words):
            if word == f"--{name}":
                return words[index + 1] if index + 1 < len(words) else ""
            if word.startswith(f"--{name}="):
                return word.partition("=")[2]
        return None


@dataclass(frozen=True)
class ComposeFile:
    """A compose file; every variable in it filled in."""

    services: tuple[Service, ...]

    def find(self, role: str) -> Service | None:
        """Return the service of this name."""
        return next((service for service in self.services if service.name == role), None)

    @property
    def ours(self) -> tuple[Service, ...]:
        """The services that run this project: built here, or of the same image as one that is."""
        images = {
            service.options.get("image") for service in self.services if "build" in service.options
        } - {None}
        return tuple(
            service
            for service in self.services
            if "build" in service.options or service.options.get("image") in images
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        """The environments of our services that have settings."""
        return tuple(Part(one.where, one.environment) for one in self.ours if one.names)


def load_compose(path: Path, environment: Mapping[str, str]) -> ComposeFile | None:
    """Read a compose file; None if there is none.

    Args:
        path: The file.
        environment: Fills in its variables.

    Raises:
        ConfigurationError: It is no compose file.
    """
    if not path.exists():
        return None
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or not all(isinstance(o, dict) for o in services.values()):
        raise ConfigurationError(f"{path.name} has no services")
    filled = interpolate(services, environment)
    return ComposeFile(
        tuple(Service(name, options, environment) for name, options in filled.items())
    )


def _port(port: Any) -> str:
    if isinstance(port, dict):
        return f"{port.get('host_ip', '')}:{port.get('published', '')}:{port.get('target')}"
    text = str(port)
    return text if text.count(":") >= 2 else f":{text}"


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
