"""Settings, code, docker-compose.yml and template.yaml agree; whatever does not is named."""

from pathlib import Path

import pytest

from cli.doctor.facts import Facts
from cli.doctor.gathering import RULES, gather
from cli.doctor.report import describe, verdict_of
from cli.doctor.rule import Rule, Verdict, examine
from tests.support.agreement import PROJECT, Break, broken_facts
from tests.support.breaks import BREAKS

ABOUT_SERVERS = {"postgresql", "clocks"}


@pytest.fixture(scope="module")
def known() -> Facts:
    """Give the facts of this project, on defaults."""
    return gather(PROJECT, {}, asks_servers=False)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_this_project_keeps_the_rule(known: Facts, rule: Rule) -> None:
    """On defaults, with its own files; nothing is passed over but what needs a server."""
    (finding,) = examine([rule], known)
    assert finding.faults == ()
    assert finding.verdict is Verdict.HOLDS or finding.rule.name in ABOUT_SERVERS, finding.reason


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: f"{broken.rule}: {broken.fault}")
def test_a_broken_rule_is_named(known: Facts, broken: Break, tmp_path: Path) -> None:
    """With what is wrong, and how to mend it; the last line names it, too."""
    facts = broken_facts(known, broken, tmp_path)

    (finding,) = examine([rule for rule in RULES if rule.name == broken.rule], facts)

    assert finding.verdict is Verdict.BROKEN
    text = "\n".join(line.plain for line in describe(finding))
    assert broken.fault in text
    assert finding.rule.mend in text
    assert "hidden" not in text
    assert broken.rule in verdict_of([finding])


def test_each_rule_is_broken_once() -> None:
    """A rule that nothing breaks may hold nothing."""
    assert {broken.rule for broken in BREAKS} == {rule.name for rule in RULES}


def test_unbroken_copies_keep_every_rule(known: Facts, tmp_path: Path) -> None:
    """What breaks a rule above is the change, and not the copying."""
    facts = broken_facts(known, Break("", ""), tmp_path)
    assert [f.rule.name for f in examine(RULES, facts) if f.verdict is not Verdict.HOLDS] == []
