"""A part of a deployment: a process with an environment of its own, and what it sets there."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic_core import PydanticUndefined

from cli.doctor.intrinsics import Unresolved
from devkit.environment import adopt
from shared.errors import ConfigurationError
from shared.secret_files import has_password
from shared.settings import ClientSettings, Settings, load_settings

SETTING_NAMES = frozenset(name.upper() for name in Settings.model_fields)
KNOWN_NAMES = SETTING_NAMES | {name.upper() for name in ClientSettings.model_fields}

STAND_INS = {
    "DATABASE_URL": "postgresql://user@localhost/name",
    "REDIS_URL": "redis://localhost:6379/0",
    "SIGNING_KEY": "a stand-in of more than thirty-two characters",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/jobs",
    "IMAGE_BUCKET": "images",
    "OPENAI_API_KEY": "a stand-in",
    "DATABASE_PASSWORD": "a stand-in",
}
"""What is only known where a part runs, for asking the settings whether they take the rest."""

Value = str | Unresolved


@dataclass(frozen=True)
class Part:
    """One process of a deployment.

    Attributes:
        where: What the report calls it.
        variables: Its environment.
        secrets: Settings that it fetches by itself, from a secret store.
        is_here: Whether it is the process that asks, whose files of secrets can be read.
    """

    where: str
    variables: Mapping[str, Value]
    secrets: frozenset[str] = field(default_factory=frozenset)
    is_here: bool = False

    def gives(self, name: str) -> bool:
        """Whether the setting has a value here, in whatever way."""
        return any(
            candidate in self.secrets or self.variables.get(candidate) not in (None, "")
            for candidate in (name, f"{name}_FILE")
        )

    def find_text(self, name: str) -> str | None:
        """Return the value of a setting, or its default; None if only a deployment knows."""
        value = self.variables.get(name)
        if isinstance(value, Unresolved) or (value is None and self.gives(name)):
            return None
        if value is None:
            default = Settings.model_fields[name.lower()].default
            return None if default in (None, PydanticUndefined) else str(default)
        return value

    def find_number(self, name: str) -> float | None:
        """Return a setting as a number; None if it is none, or only a deployment knows."""
        try:
            return float(self.find_text(name) or "")
        except ValueError:
            return None

    def numbers(self, *names: str) -> tuple[float, ...] | None:
        """Return some settings as numbers; None unless all are known."""
        found = [self.find_number(name) for name in names]
        known = tuple(value for value in found if value is not None)
        return known if len(known) == len(found) else None

    def find_refusal(self) -> str | None:
        """Return why the settings refuse this environment; None if they take it."""
        try:
            self.load()
        except ConfigurationError as error:
            return str(error)
        return None

    def load(self) -> Settings:
        """Return the settings that this environment makes, stand-ins for what is not known.

        Raises:
            ConfigurationError: Something is wrong; one line names each setting.
        """
        with _environment(self.complete()):
            return load_settings()

    def complete(self) -> dict[str, str]:
        """Return the environment with stand-ins for what only a deployment knows."""
        needed = [name for name in ("DATABASE_URL", "REDIS_URL") if not self.gives(name)]
        known = {name: STAND_INS[name] for name in needed}
        for name, value in self.variables.items():
            secret = name.removesuffix("_FILE")
            if self.is_here or secret not in STAND_INS:
                known.update({name: value} if isinstance(value, str) else {})
            elif value and secret == name and isinstance(value, str):
                known[secret] = value
            elif value:
                # A file of a secret, or what a deployment makes: neither is on this machine. The
                # file is empty where the secret itself is given.
                known.setdefault(secret, STAND_INS[secret])
        known |= {name: STAND_INS[name] for name in self.secrets}
        if not self.variables.get("DATABASE_PASSWORD") and has_password(known["DATABASE_URL"]):
            # It comes from a file, which such an address does not need.
            known.pop("DATABASE_PASSWORD", None)
        return known


def part_of(environment: Mapping[str, str]) -> Part:
    """Return the process that this environment belongs to, with its settings alone."""
    kept = {name.upper(): value for name, value in environment.items()}
    known = {name: kept[name] for name in sorted(kept.keys() & SETTING_NAMES)}
    return Part("environment", known, is_here=True)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    adopt(variables)
    try:
        yield
    finally:
        adopt(before)
