"""What `darkroom doctor` prints."""

from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from cli.doctor.recovery import Recovery
from cli.doctor.rule import Finding, Verdict

PLACES_SHOWN = 4

STYLES = {Verdict.HOLDS: "green", Verdict.BROKEN: "bold red", Verdict.NOT_CHECKED: "yellow"}


def describe(finding: Finding) -> Iterator[Text]:
    """Yield the lines on one rule: its verdict, what was found, what is wrong, how to mend it."""
    verdict = finding.verdict
    yield Text.assemble(
        (f"{verdict.value:<12}", STYLES[verdict]), (f"{finding.rule.name:<24}", "bold"),
        finding.rule.title,
    )  # fmt: skip
    if verdict is Verdict.NOT_CHECKED:
        yield Text(f"{'':12}not checked: {finding.reason}", "dim")
    found = ((reading.found, reading.where) for reading in finding.readings)
    for value, places in _together(found):
        yield Text(f"{'':12}{value}  ({_shortened(places)})", "dim")
    faults = ((str(reading.fault), reading.where) for reading in finding.faults)
    for fault, places in _together(faults):
        yield Text(f"{'':12}wrong: {fault}  ({', '.join(places)})", "red")
    if finding.faults:
        yield Text(f"{'':12}mend:  {finding.rule.mend}")


def _together(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each text once, with all places that it was found in."""
    places: dict[str, list[str]] = {}
    for text, where in pairs:
        known = places.setdefault(text, [])
        if where not in known:
            known.append(where)
    yield from places.items()


def _shortened(places: Sequence[str]) -> str:
    first, rest = places[:PLACES_SHOWN], len(places) - PLACES_SHOWN
    return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")


def recovery_table(times: Sequence[Recovery]) -> Table:
    """Return the worst-case recovery time of each runtime."""
    table = Table("runtime", "what happens", "at worst", "why", box=SIMPLE_HEAD)
    for time in times:
        table.add_row(time.runtime, time.accident, f"{time.seconds:g} s", time.why)
    return table


def verdict_of(findings: Sequence[Finding]) -> str:
    """Return the last line: how many rules hold, are broken, and were not checked."""
    counts = dict.fromkeys(Verdict, 0)
    for finding in findings:
        counts[finding.verdict] += 1
    words = [f"{counts[Verdict.HOLDS]} rules hold"]
    broken = [finding.rule.name for finding in findings if finding.verdict is Verdict.BROKEN]
    words.append(f"{len(broken)} broken{': ' if broken else ''}{', '.join(broken)}")
    words.append(f"{counts[Verdict.NOT_CHECKED]} not checked")
    return "; ".join(words)
