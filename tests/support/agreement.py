"""Breaking the agreement of settings, code and deployment files, one rule at a time.

The project's own files are copied and changed; what is no file (Celery's configuration, servers)
is changed among the facts.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from cli.doctor.facts import Facts
from cli.doctor.intrinsics import parse
from cli.doctor.parts import part_of
from cli.doctor.project_files import read_project
from cli.doctor.servers import PostgresFacts, QueueFacts, RedisFacts, Servers
from shared.jobs.migrate import newest_revision

PROJECT = Path(__file__).resolve().parents[2]

COMPOSE, TEMPLATE, PYPROJECT = "docker-compose.yml", "template.yaml", "pyproject.toml"
COPIED = (COMPOSE, TEMPLATE, PYPROJECT, "samconfig.toml", "Dockerfile", "cloud/data.yaml")

SERVERS = Servers(
    PostgresFacts(
        version=17, revision=newest_revision(), newest=newest_revision(), skew_seconds=0.0
    ),
    RedisFacts("noeviction", 256 * 1024**2, True, 0, False, 0.0),
    QueueFacts(visibility_seconds=1980, max_receives=10),
)

Document = dict[str, Any]
Edit = Callable[[Document], None]


@dataclass(frozen=True)
class Break:
    """One way to break a rule.

    Attributes:
        rule: The rule that must be named.
        fault: Words of what must be said to be wrong.
        environment: Variables of the process that asks.
        file: The file that `edit` changes.
        facts: Changes what is known otherwise.
    """

    rule: str
    fault: str
    environment: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    edit: Edit = lambda _document: None
    facts: Callable[[Facts], Facts] = lambda facts: facts


def copy_project(folder: Path) -> None:
    """Copy the files that the rules look at."""
    for name in COPIED:
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    workflows = PROJECT / ".github"
    if workflows.is_dir():
        shutil.copytree(workflows, folder / ".github")


def change(path: Path, edit: Edit) -> None:
    """Rewrite a YAML file with the document changed."""
    document = parse(path.read_text())
    edit(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def broken_facts(known: Facts, broken: Break, folder: Path) -> Facts:
    """Return the facts of a project in which one rule is broken.

    Args:
        known: The facts of this project.
        broken: What to break.
        folder: An empty folder for the copies.
    """
    copy_project(folder)
    if broken.file:
        change(folder / broken.file, broken.edit)
    files = read_project(folder, {})
    facts = replace(
        known,
        environment=part_of(broken.environment),
        compose=files.compose,
        templates=files.templates,
        python=files.python,
        servers=SERVERS,
    )
    return broken.facts(facts)


def with_celery(**options: Any) -> Callable[[Facts], Facts]:
    """Return a change of Celery's configuration."""
    return lambda facts: replace(facts, celery={**facts.celery_options, **options})


def with_transport(**options: Any) -> Callable[[Facts], Facts]:
    """Return a change of the options of Celery's connections to the broker."""

    def apply(facts: Facts) -> Facts:
        name = "broker_transport_options"
        before = facts.celery_options[name]
        return with_celery(**{name: {**before, **options}})(facts)

    return apply


def with_postgres(**told: Any) -> Callable[[Facts], Facts]:
    """Return a change of what PostgreSQL answers."""
    changed = replace(SERVERS, postgres=replace(SERVERS.postgres, **told))  # type: ignore[type-var]
    return lambda facts: replace(facts, servers=changed)


def with_redis(**told: Any) -> Callable[[Facts], Facts]:
    """Return a change of what Redis answers."""
    changed = replace(SERVERS, redis=replace(SERVERS.redis, **told))  # type: ignore[type-var]
    return lambda facts: replace(facts, servers=changed)


def with_queue(**told: Any) -> Callable[[Facts], Facts]:
    """Return a change of what SQS answers."""
    changed = replace(SERVERS, queue=replace(SERVERS.queue, **told))  # type: ignore[type-var]
    return lambda facts: replace(facts, servers=changed)


def service(name: str, **options: Any) -> Edit:
    """Return an edit of one service of docker-compose.yml; None takes an option away."""

    def edit(document: Document) -> None:
        _update(document["services"][name], options)

    return edit


def variables(name: str, **values: Any) -> Edit:
    """Return an edit of one service's environment alone; None takes a variable away."""

    def edit(document: Document) -> None:
        own = dict(document["services"][name]["environment"])
        _update(own, values)
        document["services"][name]["environment"] = own

    return edit


def resource(name: str, **properties: Any) -> Edit:
    """Return an edit of one resource of template.yaml; None takes a property away."""

    def edit(document: Document) -> None:
        _update(document["Resources"][name]["Properties"], properties)

    return edit


def function_variables(name: str | None, **values: Any) -> Edit:
    """Return an edit of a function's environment, or with None of that of all functions."""

    def edit(document: Document) -> None:
        section = document["Globals"]["Function"]
        if name is not None:
            section = document["Resources"][name]["Properties"]
        own = section.setdefault("Environment", {}).setdefault("Variables", {})
        _update(own, values)

    return edit


def event_source(**properties: Any) -> Edit:
    """Return an edit of what feeds the worker; None takes a property away."""

    def edit(document: Document) -> None:
        events = document["Resources"]["WorkerFunction"]["Properties"]["Events"]
        _update(next(iter(events.values()))["Properties"], properties)

    return edit


def command(name: str, old: str, new: str) -> Edit:
    """Return an edit of a word of a service's command."""

    def edit(document: Document) -> None:
        words = document["services"][name]["command"]
        assert old in words, f"{name} has no word {old}"
        document["services"][name]["command"] = [new if word == old else word for word in words]

    return edit


def _update(section: Document, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is None:
            assert name in section, f"{name} is not there to be taken away"
            del section[name]
        else:
            section[name] = value
