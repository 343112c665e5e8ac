"""What `darkroom doctor` prints of rules and of recovery."""

import json
from typing import Any

import pytest

from cli.doctor.recovery import recovery_times
from cli.doctor.report import json_of, lines_of, verdict_of
from cli.doctor.rule import Facts, NotChecked, Observation, Rule
from tests.support.builders import build_settings

FACTS = Facts("refused", versions={"python": "3.13.1", "celery": "5.6.3"})


def finding_of(*observations: Observation, unknown: str = "") -> Any:
    """Return what comes of a rule that looks at these values, or cannot."""

    def check(_facts: Facts) -> tuple[Observation, ...]:
        if unknown:
            raise NotChecked(unknown)
        return observations

    return Rule("limits", "Limits are limits", "Change them.", check).examine(FACTS)


HOLDS = finding_of(("1", True, "too much"))
BROKEN = finding_of(("1", True, "too much"), ("2", False, "too much"))
UNKNOWN = finding_of(unknown="no server was named")


def report(*findings: Any, is_verbose: bool = False) -> list[str]:
    """Return the lines of a report, each with single spaces."""
    times = list(recovery_times(build_settings()))[:1]
    lines = lines_of(findings, times, FACTS.versions, is_verbose=is_verbose)
    return [" ".join(line.split()) for line in lines]


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([HOLDS], "ok: 1 of 1 rules hold"),
        ([HOLDS, UNKNOWN], "ok: 1 of 2 rules hold, 1 not checked"),
        ([HOLDS, BROKEN, UNKNOWN], "broken: limits; 1 of 3 rules hold, 1 not checked"),
    ],
)
def test_the_verdict_is_one_line(findings: list[Any], verdict: str) -> None:
    """It names what is broken."""
    assert verdict_of(findings) == verdict


def test_a_broken_rule_comes_with_its_mend() -> None:
    """After the verdict; what holds is left out."""
    assert report(HOLDS, BROKEN, UNKNOWN)[1:] == [
        "",
        "broken limits Limits are limits",
        "found 1",
        "found 2",
        "wrong too much",
        "mend Change them.",
    ]


def test_everything_is_printed_on_request() -> None:
    """What holds, why a rule was not checked, recovery times, versions."""
    assert report(HOLDS, UNKNOWN, is_verbose=True)[2:] == [
        "holds limits Limits are limits",
        "found 1",
        "not checked limits Limits are limits",
        "why no server was named",
        "",
        "recovery at worst",
        "celery child killed 5 s the parent sees it within 5 s",
        "",
        "versions: python 3.13.1, celery 5.6.3",
    ]


def test_machines_read_json() -> None:
    """The same, with a verdict of one word."""
    times = list(recovery_times(build_settings()))
    read = json.loads(json_of([HOLDS, BROKEN, UNKNOWN], times, FACTS.versions))
    assert (read["verdict"], read["versions"]) == ("broken", FACTS.versions)
    assert [one["state"] for one in read["rules"]] == ["holds", "broken", "not checked"]
    assert read["rules"][1]["faults"] == ["too much"]
    assert read["rules"][1]["mend"] == "Change them."
    assert read["rules"][2]["not_checked"] == "no server was named"
    assert len(read["recovery"]) == len(times)
    assert json.loads(json_of([HOLDS], [], {}))["verdict"] == "ok"


def test_recovery_is_computed_from_the_settings() -> None:
    """A lease or a grace, and a sweep; the hard limit, and what ends the job."""
    settings = build_settings(
        lease_seconds=20, sweep_seconds=5, dispatch_grace_seconds=100, time_limit=400
    )
    seconds = {(time.runtime, time.accident): time.seconds for time in recovery_times(settings)}
    assert seconds == {
        ("celery", "child killed"): 5,
        ("celery", "worker or machine lost"): 25,
        ("celery", "envelope lost"): 105,
        ("celery", "hard limit"): 405,
        ("lambda", "worker or machine lost"): 80,
        ("lambda", "envelope lost"): 160,
        ("lambda", "hard limit"): 460,
    }
