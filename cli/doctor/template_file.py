"""template.yaml as the rules see it: functions, what starts them, queues."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from cli.doctor.intrinsics import Resolver, Unresolved, names_in, parse
from cli.doctor.parts import Part, Value
from shared.errors import ConfigurationError

FUNCTION_TIMEOUT_SECONDS = 3
FUNCTION_MEMORY_MEGABYTES = 128
QUEUE_VISIBILITY_SECONDS = 30
QUEUE_RETENTION_SECONDS = 345_600
"""What AWS takes where a template says nothing (AWS::Serverless::Function, AWS::SQS::Queue)."""

MIGRATE_HANDLER = "functions.migrate.handler"
"""Reads DATABASE_URL alone."""

FETCHED = frozenset({"DATABASE_URL", "REDIS_URL", "SIGNING_KEY", "OPENAI_API_KEY"})
"""What a function may find in the secrets of SECRET_ARNS."""

NESTED = {"AWS::CloudFormation::Stack": "TemplateURL", "AWS::Serverless::Application": "Location"}


@dataclass(frozen=True)
class Resource:
    """One resource, its properties resolved."""

    name: str
    type: str
    properties: Mapping[str, Any]
    label: str = "template"

    @property
    def where(self) -> str:
        """What the report calls it."""
        return f"{self.label} {self.name}"

    def find_number(self, name: str, default: float | None = None) -> float | None:
        """Return a property as a number; None if it is none."""
        try:
            return float(self.properties.get(name, default))
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True)
class EventSource:
    """What feeds a function from a queue."""

    queues: frozenset[str]
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Template:
    """A template with its conditions decided and its parameters filled in.

    Attributes:
        label: What the report calls it.
        resources: Those that its conditions let be, with those of nested stacks.
    """

    label: str
    resources: tuple[Resource, ...]

    @cached_property
    def functions(self) -> tuple[Resource, ...]:
        """All functions."""
        return self.of_type("AWS::Serverless::Function", "AWS::Lambda::Function")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The environments of the functions that read all settings."""
        return tuple(
            self.part_of(function)
            for function in self.functions
            if function.properties.get("Handler") != MIGRATE_HANDLER
        )

    def of_type(self, *types: str) -> tuple[Resource, ...]:
        """Return the resources of these types."""
        return tuple(resource for resource in self.resources if resource.type in types)

    def find(self, name: str) -> Resource | None:
        """Return the resource of this name."""
        return next((resource for resource in self.resources if resource.name == name), None)

    def find_function(self, handler: str) -> Resource | None:
        """Return the function with this handler."""
        return next(
            (one for one in self.functions if str(one.properties.get("Handler")) == handler), None
        )

    def part_of(self, function: Resource) -> Part:
        """Return the environment of a function, as it is on Lambda."""
        given = function.properties.get("Environment") or {}
        variables: dict[str, Value] = {
            name: value if isinstance(value, Unresolved) else _as_text(value)
            for name, value in (given.get("Variables") or {}).items()
        }
        variables["AWS_LAMBDA_FUNCTION_NAME"] = function.name
        secrets = FETCHED if variables.get("SECRET_ARNS") else frozenset()
        return Part(function.where, variables, secrets)

    def event_sources(self, function: Resource) -> Iterator[EventSource]:
        """Yield what feeds a function from queues, whichever way it is written."""
        for event in (function.properties.get("Events") or {}).values():
            if event.get("Type") == "SQS":
                properties = event.get("Properties") or {}
                yield EventSource(names_in(properties.get("Queue")), properties)
        for mapping in self.of_type("AWS::Lambda::EventSourceMapping"):
            if function.name in names_in(mapping.properties.get("FunctionName")):
                source = names_in(mapping.properties.get("EventSourceArn"))
                yield EventSource(source, mapping.properties)

    def schedules(self, function: Resource) -> Iterator[object]:
        """Yield the schedules of a function, as `rate(1 minute)`."""
        for event in (function.properties.get("Events") or {}).values():
            properties = event.get("Properties") or {}
            if event.get("Type") in ("Schedule", "ScheduleV2"):
                yield properties.get("Schedule", properties.get("ScheduleExpression"))
        for rule in self.of_type("AWS::Events::Rule", "AWS::Scheduler::Schedule"):
            targets = rule.properties.get("Targets", rule.properties.get("Target"))
            if function.name in names_in(targets):
                yield rule.properties.get("ScheduleExpression")

    def gateway_timeouts(self, function: Resource) -> Iterator[float]:
        """Yield how many seconds the gateways before a function wait, as far as it says so."""
        for event in (function.properties.get("Events") or {}).values():
            given = (event.get("Properties") or {}).get("TimeoutInMillis")
            if event.get("Type") in ("HttpApi", "Api") and str(given).isdecimal():
                yield int(str(given)) / 1000

    def queues_of(self, function: Resource) -> Iterator[tuple[EventSource, Resource]]:
        """Yield the queues of this template that feed a function, each with its source."""
        for source in self.event_sources(function):
            for name in sorted(source.queues):
                queue = self.find(name)
                if queue is not None and queue.type == "AWS::SQS::Queue":
                    yield source, queue


def load_template(
    path: Path, parameters: Mapping[str, str], label: str = "template"
) -> Template | None:
    """Read a template; None if there is none.

    Args:
        path: The file.
        parameters: Values of its parameters, in place of their defaults.
        label: What the report calls it.

    Raises:
        ConfigurationError: It is no template.
    """
    if not path.exists():
        return None
    return Template(label, tuple(_read(path, parameters, label)))


def _read(path: Path, parameters: Mapping[str, str], label: str) -> Iterator[Resource]:
    try:
        document = _parsed(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise ConfigurationError(f"{path.name} has no resources")
    resources = tuple(_resources(document, Resolver(document, parameters), label))
    yield from resources
    for resource in resources:
        nested = path.parent / str(resource.properties.get(NESTED.get(resource.type, ""), ""))
        if resource.type in NESTED and nested.is_file():
            given = resource.properties.get("Parameters") or {}
            known = {name: _as_text(v) for name, v in given.items() if isinstance(v, str | int)}
            yield from _read(nested, known, resource.where)


# A template is read once for each environment that it is deployed to.
_parsed = lru_cache(maxsize=8)(parse)


def _resources(document: Mapping[str, Any], resolver: Resolver, label: str) -> Iterator[Resource]:
    shared = resolver.resolve((document.get("Globals") or {}).get("Function") or {})
    for name, declared in document["Resources"].items():
        condition = declared.get("Condition")
        if condition is not None and resolver.holds(str(condition)) is False:
            continue
        properties = resolver.resolve(declared.get("Properties") or {})
        if declared.get("Type") == "AWS::Serverless::Function":
            properties = _merged(shared, properties)
        yield Resource(str(name), str(declared.get("Type")), properties, label)


def _merged(shared: Any, own: Any) -> Any:
    """Return a section of Globals under a resource's own: maps are merged, lists put together."""
    if isinstance(shared, dict) and isinstance(own, dict):
        names = [*shared, *(name for name in own if name not in shared)]
        return {name: _merged(shared.get(name), own.get(name)) for name in names}
    if isinstance(shared, list) and isinstance(own, list):
        return [*shared, *own]
    return shared if own is None else own


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
