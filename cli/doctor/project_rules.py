"""Rules on the project's files as a whole, and on the servers that this environment names."""

from collections.abc import Iterable

from cli.doctor.facts import LEAST, Facts
from cli.doctor.intrinsics import Unresolved
from cli.doctor.parts import Part
from cli.doctor.rule import NotChecked, Reading, Rule, judged
from shared.secret_files import has_password

SECRETS = ("DATABASE_PASSWORD", "SIGNING_KEY", "OPENAI_API_KEY", "DARKROOM_API_KEY")

POSTGRES_LEAST = 14
"""The oldest release that PostgreSQL still mends in 2026 (postgresql.org, "Versioning Policy")."""

SKEW_MOST_SECONDS = 5.0
"""Leases go by PostgreSQL's clock and signed addresses by this machine's; logs are read by both."""


def _python(facts: Facts) -> Iterable[Reading]:
    declared = next((claim for claim in facts.python if claim.where == "pyproject.toml"), None)
    if declared is None:
        raise NotChecked("pyproject.toml is absent")
    by_file = {claim.where: claim.versions for claim in facts.python}
    for claim in facts.python:
        extra = claim.versions - declared.versions
        missing = declared.versions - claim.versions if claim.is_all else frozenset()
        same = by_file.get(claim.same_as or "", claim.versions)
        fault = None
        if extra or not claim.versions:
            fault = f"not supported by pyproject.toml: {_listed(extra) or 'none named'}"
        elif missing:
            fault = f"missing: {_listed(missing)}"
        elif claim.where == LEAST and claim.versions != {_sorted(declared.versions)[0]}:
            fault = f"the oldest of the classifiers is {_sorted(declared.versions)[0]}"
        elif claim.versions != same:
            fault = f"{claim.same_as} says {_listed(same)}"
        yield Reading(claim.where, _listed(claim.versions), fault)


def _listed(versions: Iterable[str]) -> str:
    return ", ".join(_sorted(versions))


def _sorted(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=lambda version: (len(version), version))


def _secrets(facts: Facts) -> Iterable[Reading]:
    compose = () if facts.compose is None else facts.compose.parts
    functions = [t.part_of(function) for t in facts.templates for function in t.functions]
    if not compose and not functions:
        raise NotChecked("docker-compose.yml and template.yaml are absent")
    for part in (*compose, *functions):
        plain = [name for name in SECRETS if part.variables.get(name) not in (None, "")]
        # On a laptop the address of a server that only this machine reaches may hold one.
        if part.find_text("ENVIRONMENT") != "local":
            plain += [name for name in ("DATABASE_URL", "REDIS_URL") if _has_password(part, name)]
        yield judged(
            part.where,
            "no secret in plain text" if not plain else f"{', '.join(plain)} in plain text",
            holds=not plain,
            fault=f"whoever may look at it reads {', '.join(plain)}",
        )


def _has_password(part: Part, name: str) -> bool:
    value = part.variables.get(name)
    if isinstance(value, Unresolved):
        # Fetched at deployment, and plain from then on.
        return "{{resolve:" in value.text
    return value is not None and has_password(value)


def _migration(facts: Facts) -> Iterable[Reading]:
    for template in facts.get_templates():
        for resource in template.of_type("Custom::Migration"):
            found = str(resource.properties.get("Revision"))
            yield judged(
                resource.where,
                f"Revision {found}",
                holds=found == facts.newest_revision,
                fault=f"the newest is {facts.newest_revision}: a deployment would not migrate",
            )


def _postgres(facts: Facts) -> Iterable[Reading]:
    if isinstance(facts.servers.postgres, str):
        raise NotChecked(facts.servers.postgres)
    server = facts.servers.postgres
    yield judged(
        "postgresql server",
        f"version {server.version}",
        holds=server.version >= POSTGRES_LEAST,
        fault=f"older than {POSTGRES_LEAST}",
    )
    yield judged(
        "postgresql server",
        f"schema at {server.revision or 'nothing'}",
        holds=server.revision == facts.newest_revision,
        fault=f"this code needs {facts.newest_revision}",
    )


def _clocks(facts: Facts) -> Iterable[Reading]:
    told = [("postgresql server", facts.servers.postgres), ("redis server", facts.servers.redis)]
    reasons = []
    for where, server in told:
        if isinstance(server, str):
            reasons.append(f"{where}: {server}")
            continue
        yield judged(
            where,
            f"{server.skew_seconds:+.1f} s",
            holds=abs(server.skew_seconds) <= SKEW_MOST_SECONDS,
            fault=f"its clock and this one are more than {SKEW_MOST_SECONDS:g} s apart",
        )
    if len(reasons) == len(told):
        raise NotChecked("; ".join(reasons))


PROJECT_RULES = (
    Rule(
        "python",
        "All files speak of the same Python versions",
        "Make the file that is named say the same as the classifiers of pyproject.toml, and what "
        "builds for Lambda the same as Runtime in template.yaml.",
        _python,
    ),
    Rule(
        "secrets",
        "No secret stands in an environment that others may look at",
        "Give it by file (NAME_FILE), or by a secret that SECRET_ARNS names.",
        _secrets,
    ),
    Rule(
        "migration",
        "A deployment migrates to the newest schema",
        "Set Revision of the migration in template.yaml.",
        _migration,
    ),
)

SERVER_RULES = (
    Rule(
        "postgresql",
        "PostgreSQL is recent enough, and has the schema of this code",
        "Run darkroom migrate; update the server.",
        _postgres,
    ),
    Rule(
        "clocks",
        "The clocks of the servers agree with this one",
        "Let every machine keep its time by NTP.",
        _clocks,
    ),
)
