"""What `darkroom doctor` says of rules and of recovery."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from cli.doctor.facts import Facts
from cli.doctor.parts import Part, part_of
from cli.doctor.recovery import recovery_times
from cli.doctor.report import describe, verdict_of
from cli.doctor.rule import Finding, NotChecked, Reading, Rule, Verdict, examine

FACTS = Facts(environment=part_of({}), celery="not asked")


def rule(*readings: Reading) -> Rule:
    """Return a rule that looks at these values."""

    def check(_facts: Facts) -> Iterable[Reading]:
        return readings

    return Rule("limits", "Limits are limits", "Change them.", check)


def refusing(_facts: Facts) -> Iterable[Reading]:
    """Look at nothing."""
    raise NotChecked("there is no file")


def text_of(finding: Finding) -> list[str]:
    """Return the lines on a finding."""
    return [" ".join(line.plain.split()) for line in describe(finding)]


def test_a_broken_rule_is_told_with_its_mend() -> None:
    """Equal values and equal faults stand in one line, with all their places."""
    readings = (Reading("a", "1"), Reading("b", "1"), *(Reading(x, "2", "too much") for x in "cd"))
    [finding] = examine([rule(*readings)], FACTS)
    assert finding.verdict is Verdict.BROKEN
    assert text_of(finding) == [
        "broken limits Limits are limits",
        "1 (a, b)",
        "2 (c, d)",
        "wrong: too much (c, d)",
        "mend: Change them.",
    ]


def test_a_rule_that_was_not_checked_says_why() -> None:
    """Whether it refused, or found nothing to look at."""
    refused, empty = examine([replace(rule(), check=refusing), rule()], FACTS)
    assert text_of(refused)[1] == "not checked: there is no file"
    assert text_of(empty)[1] == "not checked: nothing here that it speaks of"


def test_the_last_line_counts_and_names() -> None:
    """For whoever reads no further."""
    bad = rule(Reading("a", "1", "wrong"))
    findings = examine([rule(Reading("a", "1")), bad, rule()], FACTS)
    assert verdict_of(findings) == "1 rules hold; 1 broken: limits; 1 not checked"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, {"worker or machine lost": 75, "sandbox killed": 75, "envelope lost": 75}),
        ({"LEASE_SECONDS": "20", "SWEEP_SECONDS": "5"}, {"worker or machine lost": 25}),
        ({"DISPATCH_GRACE_SECONDS": "100"}, {"envelope lost": 115}),
    ],
)
def test_recovery_is_computed_from_the_settings(
    environment: dict[str, str], seconds: dict[str, float]
) -> None:
    """The lease or the grace, and a sweep."""
    times = recovery_times(replace(FACTS, environment=part_of(environment)))
    told = {time.accident: time.seconds for time in times}
    assert {accident: told[accident] for accident in seconds} == seconds


def test_a_part_knows_defaults_and_what_is_given_otherwise() -> None:
    """A file or a secret store gives a value, too; which one, only a deployment knows."""
    part = Part("x", {"SIGNING_KEY_FILE": "/run/secrets/key"}, frozenset({"DATABASE_URL"}))
    assert (part.gives("SIGNING_KEY"), part.gives("DATABASE_URL")) == (True, True)
    assert (part.gives("REDIS_URL"), part.find_text("DATABASE_URL")) == (False, None)
    assert part.find_number("TIME_LIMIT") == 330
    assert part.find_refusal() is None


@pytest.mark.parametrize(
    ("variables", "refusal"),
    [
        ({"REDIS_URL": "http://h", "REDIS_URL_FILE": "/run/f"}, "settings: REDIS_URL must begin"),
        ({"REDIS_URL": "", "REDIS_URL_FILE": "/run/f"}, None),
        ({"DATABASE_URL": "postgresql://u:p@h/d", "DATABASE_PASSWORD_FILE": "/run/f"}, None),
        (
            {"DATABASE_URL": "postgresql://u:p@h/d", "DATABASE_PASSWORD": "q"},
            "settings: DATABASE_PASSWORD is set, and DATABASE_URL holds a password",
        ),
    ],
    ids=str,
)
def test_a_part_is_refused_as_its_process_would_refuse_it(
    variables: dict[str, str], refusal: str | None
) -> None:
    """Of its files of secrets only the names are known: one is empty where its secret is given."""
    found = Part("x", variables).find_refusal()
    assert found is None if refusal is None else (found or "").startswith(refusal)
