"""What `darkroom doctor` prints: for people, and as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from cli.doctor.recovery import RecoveryTime
from cli.doctor.rule import Finding


def verdict_of(findings: Sequence[Finding]) -> str:
    """Return the first line: which rules are broken, and how many hold or were not checked."""
    states = [finding.state for finding in findings]
    broken = ", ".join(finding.name for finding in findings if finding.state == "broken")
    counts = f"{states.count('holds')} of {len(findings)} rules hold"
    unknown = states.count("not checked")
    verdict = f"broken: {broken}; {counts}" if broken else f"ok: {counts}"
    return f"{verdict}, {unknown} not checked" if unknown else verdict


def lines_of(
    findings: Sequence[Finding],
    times: Sequence[RecoveryTime],
    versions: Mapping[str, str],
    *,
    is_verbose: bool,
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
    yield from ("", f"versions: {', '.join(map(' '.join, versions.items()))}")


def _describe(finding: Finding) -> Iterator[str]:
    yield f"{finding.state:<12}{finding.name:<24}{finding.title}"
    details = [("found", found) for found in finding.found]
    details += [("wrong", fault) for fault in finding.faults]
    details += [("mend", finding.mend or ""), ("why", finding.not_checked or "")]
    yield from (f"{'':12}{word:<6}{text}" for word, text in details if text)


def json_of(
    findings: Sequence[Finding], times: Sequence[RecoveryTime], versions: Mapping[str, str]
) -> str:
    """Return the report for machines."""
    is_broken = any(finding.state == "broken" for finding in findings)
    report = {
        "verdict": "broken" if is_broken else "ok",
        "rules": [asdict(finding) for finding in findings],
        "recovery": [time._asdict() for time in times],
        "versions": versions,
    }
    return json.dumps(report, indent=2)
