"""What `darkroom doctor` prints: for people, and as JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from cli.doctor.facts import Facts
from cli.doctor.recovery import RecoveryTime
from cli.doctor.rule import Finding


def verdict_of(findings: Sequence[Finding]) -> str:
    """Return the first line: which rules are broken, and how many hold or were not checked."""
    states = [finding.state for finding in findings]
    broken = [finding.rule.name for finding in findings if finding.state == "broken"]
    verdict = f"broken: {', '.join(broken)}; " if broken else "ok: "
    holding, unknown = states.count("holds"), states.count("not checked")
    counts = f"{holding} of {len(findings)} rules hold"
    return f"{verdict}{counts}, {unknown} not checked" if unknown else f"{verdict}{counts}"


def lines_of(
    facts: Facts, findings: Sequence[Finding], times: Sequence[RecoveryTime], *, is_verbose: bool
) -> Iterator[str]:
    """Yield the report for people: the verdict, what is broken, and on request everything."""
    yield verdict_of(findings)
    for finding in findings:
        if finding.state == "broken":
            yield from ("", *_describe(finding))
    if not is_verbose:
        return
    yield ""
    for finding in findings:
        if finding.state != "broken":
            yield from _describe(finding)
    yield from ("", "recovery at worst")
    for time in times:
        yield f"  {time.runtime:<8}{time.accident:<24}{time.seconds:>6g} s   {time.why}"
    versions = (f"{name} {version}" for name, version in facts.versions.items())
    yield from ("", f"versions: {', '.join(versions)}")


def _describe(finding: Finding) -> Iterator[str]:
    yield f"{finding.state:<12}{finding.rule.name:<24}{finding.rule.title}"
    for word, texts in (
        ("found", finding.found),
        ("wrong", finding.faults),
        ("mend", (finding.rule.mend,) if finding.faults else ()),
        ("why", (finding.not_checked,) if finding.not_checked else ()),
    ):
        yield from (f"{'':12}{word:<6}{text}" for text in texts)


def json_of(facts: Facts, findings: Sequence[Finding], times: Sequence[RecoveryTime]) -> str:
    """Return the report for machines."""
    is_broken = any(finding.state == "broken" for finding in findings)
    return json.dumps(
        {
            "verdict": "broken" if is_broken else "ok",
            "rules": [
                {
                    "name": finding.rule.name,
                    "title": finding.rule.title,
                    "state": finding.state,
                    "found": finding.found,
                    "faults": finding.faults,
                    "mend": finding.rule.mend if finding.faults else None,
                    "not_checked": finding.not_checked,
                }
                for finding in findings
            ],
            "recovery": [asdict(time) for time in times],
            "versions": facts.versions,
        },
        indent=2,
    )
