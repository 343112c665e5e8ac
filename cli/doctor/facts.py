"""All that the rules look at: gathered once, changed by nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.doctor.compose_file import ComposeFile, Service
from cli.doctor.parts import Part
from cli.doctor.rule import NotChecked
from cli.doctor.servers import NO_SERVERS, Servers
from cli.doctor.template_file import Resource, Template
from shared.api.live_delivery import StreamTimings
from shared.generation.lease import EXTENSIONS_A_LEASE

COMPOSE_NAME = "docker-compose.yml"
TEMPLATE_NAME = "template.yaml"

LEAST = "requires-python"
"""The claim on the oldest version."""

WORKER_HANDLER = "functions.worker.handler"
API_HANDLER = "functions.api.handler"
REAPER_HANDLER = "functions.reaper.handler"


@dataclass(frozen=True, slots=True)
class PythonClaim:
    """What one file says of Python.

    Attributes:
        where: The file.
        versions: The versions that it names, as `3.13`.
        is_all: Whether it must name every version that is supported, or just some.
        same_as: The file that must name the very same versions; None if there is none.
    """

    where: str
    versions: frozenset[str]
    is_all: bool
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """Constants of the code that rules are about.

    Attributes:
        extensions_a_lease: How often a lease is extended in the time that it lasts.
        ping_seconds: After how much silence at most a stream is pinged.
    """

    extensions_a_lease: int = EXTENSIONS_A_LEASE
    ping_seconds: float = StreamTimings().ping_after + StreamTimings().tick


CODE = CodeFacts()


@dataclass(frozen=True)
class Facts:
    """What is known.

    Attributes:
        environment: The process that asks.
        celery: How Celery is configured (`probe.describe_celery`), or why that is not known.
        code: Constants of the code.
        installed: Versions of packages that matter.
        compose: docker-compose.yml; None if it is absent.
        templates: template.yaml, with the defaults of its parameters and as each environment of
            samconfig.toml deploys it; empty if it is absent.
        handlers: For each handler of the templates, why it cannot be imported; None if it can.
        python: What the project's files say of Python.
        servers: What the servers answered.
        newest_revision: The revision of the schema that this code needs.
    """

    environment: Part
    celery: Mapping[str, Any] | str
    code: CodeFacts = CODE
    installed: Mapping[str, str] = field(default_factory=dict)
    compose: ComposeFile | None = None
    templates: tuple[Template, ...] = ()
    handlers: Mapping[str, str | None] | str = field(default_factory=dict)
    python: tuple[PythonClaim, ...] = ()
    servers: Servers = NO_SERVERS
    newest_revision: str | None = None

    @property
    def parts(self) -> Iterator[Part]:
        """Every process with settings: this one, the services, the functions."""
        yield self.environment
        if self.compose is not None:
            yield from self.compose.parts
        for template in self.templates:
            yield from template.parts

    @property
    def celery_options(self) -> Mapping[str, Any]:
        """The configuration of Celery.

        Raises:
            NotChecked: It is not known.
        """
        if isinstance(self.celery, str):
            raise NotChecked(self.celery)
        return self.celery

    def get_compose(self) -> ComposeFile:
        """Return docker-compose.yml.

        Raises:
            NotChecked: It is absent.
        """
        if self.compose is None:
            raise NotChecked(f"{COMPOSE_NAME} is absent")
        return self.compose

    def get_service(self, name: str) -> Service:
        """Return a service of docker-compose.yml.

        Raises:
            NotChecked: The file is absent, or has no such service.
        """
        service = self.get_compose().find(name)
        if service is None:
            raise NotChecked(f"{COMPOSE_NAME} has no service {name}")
        return service

    def get_templates(self) -> tuple[Template, ...]:
        """Return the templates.

        Raises:
            NotChecked: There are none.
        """
        if not self.templates:
            raise NotChecked(f"{TEMPLATE_NAME} is absent")
        return self.templates

    def get_functions(self, handler: str) -> list[tuple[Template, Resource]]:
        """Return the function with this handler, of each template.

        Raises:
            NotChecked: There is none.
        """
        found = [
            (template, function)
            for template in self.get_templates()
            if (function := template.find_function(handler)) is not None
        ]
        if not found:
            raise NotChecked(f"{TEMPLATE_NAME} has no function {handler}")
        return found
