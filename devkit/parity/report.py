"""Comparisons as text: a table with a row for each scenario, and the differences in detail."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Table

from devkit.parity.compare import Comparison
from devkit.parity.history import History
from devkit.runtimes import RUNTIMES

COLUMNS = ("scenario", "messages", "end", *RUNTIMES, "equal")


def as_table(comparisons: Sequence[Comparison]) -> Table:
    """Return the table for a terminal."""
    table = Table(*COLUMNS, box=SIMPLE_HEAD)
    for comparison in comparisons:
        table.add_row(*_cells(comparison))
    return table


def as_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the table as Markdown."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *map(_cells, comparisons)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def details(comparison: Comparison) -> Iterator[str]:
    """Yield lines that say what is not as it must be."""
    yield f"{comparison.scenario.name}:"
    for runtime, deviations in comparison.deviations.items():
        for deviation in deviations:
            yield f"  {runtime}: {deviation}"
    for difference in comparison.differences:
        yield f"  {difference.kind}:"
        for runtime, lines in difference.lines.items():
            for line in lines or ("(nothing)",):
                yield f"    {runtime:<6}  {line}"


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Return the last line: how many scenarios there were, and how many are not equal."""
    bad = sum(not comparison.is_good for comparison in comparisons)
    count = f"{len(comparisons)} scenario{'' if len(comparisons) == 1 else 's'}"
    return f"{bad} of {count} with differences" if bad else f"{count}, no difference"


def _cells(comparison: Comparison) -> tuple[str, ...]:
    histories = comparison.histories
    first = histories[RUNTIMES[0]]
    return (
        comparison.scenario.title,
        _sequence(first),
        _end(first),
        *(_counts(histories[runtime]) for runtime in RUNTIMES),
        "yes" if comparison.is_good else "no",
    )


def _sequence(history: History) -> str:
    """Return the messages in short: each status with the progress it went through."""
    steps = [json.loads(message) for message in history.messages]
    parts = []
    for status, group in groupby(steps, key=lambda step: step["status"]):
        parts.append(" ".join([status, *(str(step["progress"]) for step in group)]))
    return ", ".join(parts)


def _end(history: History) -> str:
    if history.job["error"]:
        return str(history.job["error"]["code"])
    missing = (history.job["result"] or {}).get("missing", 0)
    return f"{len(history.images)} saved" + (f", {missing} missing" if missing else "")


def _counts(history: History) -> str:
    attempts, messages = len(history.attempts), len(history.messages)
    return f"{attempts} attempt{'' if attempts == 1 else 's'}, {messages} messages"
