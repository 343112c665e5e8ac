"""`darkroom doctor`: every rule checked against this environment and its servers."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import typer

from cli.doctor import celery_rules, server_rules, setting_rules
from cli.doctor.recovery import recovery_times
from cli.doctor.report import json_of, lines_of
from cli.doctor.rule import Facts, Rule
from cli.doctor.servers import ask_servers
from cli.output import say_json, say_lines
from local.open_files import raise_open_files
from shared.errors import ConfigurationError
from shared.jobs.migration import newest_revision
from shared.settings import load_settings

RULES = tuple(
    rule
    for module in (setting_rules, celery_rules, server_rules)
    for rule in vars(module).values()
    if isinstance(rule, Rule)
)
"""Every rule of these modules, in their order."""

STAND_INS = {
    "DATABASE_URL": "postgresql://user@localhost/name",
    "REDIS_URL": "redis://localhost:6379/0",
}
"""For checking all other settings where a server is not named."""

PACKAGES = ("darkroom", "celery", "kombu", "redis", "sqlalchemy", "psycopg2-binary", "pydantic")


def run_doctor(*, is_verbose: bool, as_json: bool) -> None:
    """Print what the rules find; end with 1 if one is broken."""
    facts = gather()
    findings = [rule.examine(facts) for rule in RULES]
    times = [] if isinstance(facts.settings, str) else list(recovery_times(facts.settings))
    if as_json:
        say_json(json_of(findings, times, facts.versions))
    else:
        say_lines(lines_of(findings, times, facts.versions, is_verbose=is_verbose))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def gather() -> Facts:
    """Return the facts of this environment; it gets stand-ins for servers that it does not name."""
    named = [n for n in STAND_INS if os.environ.get(n) or os.environ.get(f"{n}_FILE")]
    os.environ.update({name: url for name, url in STAND_INS.items() if name not in named})
    versions = running_versions()
    try:
        settings = load_settings()
    except ConfigurationError as error:
        return Facts(str(error), versions=versions)
    postgres, redis, queue = ask_servers(settings, named)
    celery = celery_rules.effective_celery_options()
    return Facts(settings, celery, postgres, redis, queue, versions, raise_open_files())


def running_versions() -> dict[str, str]:
    """Return the versions of what runs here, and the revision of the schema that it needs."""
    found = {"python": platform.python_version(), "schema": str(newest_revision())}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
