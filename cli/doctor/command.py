"""`darkroom doctor`: every rule checked against this environment and its servers."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import typer

from cli.doctor.celery_rules import CELERY_RULES, effective_celery_options
from cli.doctor.facts import Facts
from cli.doctor.recovery import recovery_times
from cli.doctor.report import json_of, lines_of
from cli.doctor.rule import Rule
from cli.doctor.server_rules import SERVER_RULES
from cli.doctor.servers import ask_servers
from cli.doctor.setting_rules import SETTING_RULES
from shared.errors import ConfigurationError
from shared.jobs.migration import newest_revision
from shared.settings import load_settings

RULES: tuple[Rule, ...] = (*SETTING_RULES, *CELERY_RULES, *SERVER_RULES)

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
        typer.echo(json_of(facts, findings, times))
    else:
        for line in lines_of(facts, findings, times, is_verbose=is_verbose):
            typer.echo(line)
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
    return Facts(settings, effective_celery_options(), postgres, redis, queue, versions)


def running_versions() -> dict[str, str]:
    """Return the versions of what runs here, and the revision of the schema that it needs."""
    found = {"python": platform.python_version(), "schema": str(newest_revision())}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
