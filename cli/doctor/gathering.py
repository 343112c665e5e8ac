"""Gathering the facts: from this environment, the installed code, the project's files, servers."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cli.doctor.celery_rules import CELERY_RULES
from cli.doctor.compose_rules import COMPOSE_RULES
from cli.doctor.facts import Facts
from cli.doctor.parts import SETTING_NAMES, STAND_INS, Part, part_of
from cli.doctor.project_files import read_project
from cli.doctor.project_rules import PROJECT_RULES, SERVER_RULES
from cli.doctor.rule import Rule
from cli.doctor.servers import NO_SERVERS, ask_servers
from cli.doctor.setting_rules import SETTING_RULES
from cli.doctor.template_file import Template
from cli.doctor.template_rules import TEMPLATE_RULES
from shared.errors import one_line
from shared.jobs.migrate import newest_revision

RULES: tuple[Rule, ...] = (
    *SETTING_RULES,
    *CELERY_RULES,
    *COMPOSE_RULES,
    *TEMPLATE_RULES,
    *PROJECT_RULES,
    *SERVER_RULES,
)

PROJECT = Path(__file__).resolve().parents[2]
PROBE_TIMEOUT_SECONDS = 60


def gather(folder: Path, environment: Mapping[str, str], *, asks_servers: bool = True) -> Facts:
    """Return all that the rules look at.

    Args:
        folder: Where docker-compose.yml, template.yaml and pyproject.toml are, or are not.
        environment: The variables of this process.
        asks_servers: Whether to ask the servers that it names.

    Raises:
        ConfigurationError: A file is there but cannot be read.
    """
    part = part_of(environment)
    files = read_project(folder, environment)
    refusal = part.find_refusal()
    # Each probe is a process that imports for a second: both at once.
    with ThreadPoolExecutor(1) as executor:
        handlers = executor.submit(probe_handlers, files.templates, environment)
        celery = refusal or _probe_celery(part, environment)
    return Facts(
        environment=part,
        celery=celery,
        installed=_installed("celery", "kombu", "redis"),
        compose=files.compose,
        templates=files.templates,
        handlers=handlers.result(),
        python=files.python,
        servers=ask_servers(part, environment) if asks_servers and not refusal else NO_SERVERS,
        newest_revision=newest_revision(),
    )


def _installed(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _probe_celery(part: Part, environment: Mapping[str, str]) -> Mapping[str, Any] | str:
    told: Mapping[str, Any] | str = _probe(["celery"], {**environment, **part.complete()})
    return told


def probe_handlers(
    templates: Sequence[Template], environment: Mapping[str, str]
) -> Mapping[str, str | None] | str:
    """Return, for each handler, why it cannot be imported; or why nobody knows."""
    paths = sorted({str(f.properties.get("Handler")) for t in templates for f in t.functions})
    missing = [name for name in ("boto3", "mangum") if importlib.util.find_spec(name) is None]
    if not paths:
        return {}
    if missing:
        return f"{' and '.join(missing)} not installed (the extra `cloud`)"
    # Settings of functions are rules of their own; here only the import is looked at.
    foreign = {name: text for name, text in environment.items() if name not in SETTING_NAMES}
    own = {**STAND_INS, "ENVIRONMENT": "local", "AWS_DEFAULT_REGION": "us-east-1"}
    told: Mapping[str, str | None] | str = _probe(paths, {**foreign, **own})
    return told


def _probe(words: Sequence[str], environment: Mapping[str, str]) -> Any:
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "cli.doctor.probe", *words],
        cwd=PROJECT,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=PROBE_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        return f"cannot be imported: {one_line(done.stderr.strip()[-200:])}"
    return json.loads(done.stdout.splitlines()[-1])
