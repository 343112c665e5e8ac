"""`darkroom parity`: every scenario through both runtimes, side by side."""

import sys
from collections.abc import Iterable, Sequence

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cli.client_app import WIDTH_OF_FILES
from cli.output import say, say_lines
from devkit.parity.compare import COLUMNS, Comparison, compare
from devkit.parity.play import both_runtimes, play, play_together
from devkit.parity.scenarios import SCENARIOS, Scenario, select_scenarios
from shared.terminal import printable


def list_scenarios() -> None:
    """Print the names of the scenarios, and what they are."""
    for scenario in SCENARIOS:
        say(f"{scenario.name:<24}{scenario.title}")


def run_parity(names: Sequence[str], *, is_markdown: bool) -> None:
    """Run the scenarios, print the comparison, and end with 1 unless all is equal."""
    comparisons = _compare_all(select_scenarios(names))
    rows = [comparison.row for comparison in comparisons]
    if is_markdown:
        say_lines(as_markdown(rows).split("\n"))
    else:
        table = Table(*COLUMNS, box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*map(printable, row))
        Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES).print(table)
    bad = [comparison for comparison in comparisons if comparison.faults]
    for comparison in bad:
        lines = (f"{comparison.scenario.name}:", *comparison.faults)
        say_lines(("\n  ".join(lines)).split("\n"), err=is_markdown)
    say(verdict(len(comparisons), len(bad)), err=is_markdown)
    if bad:
        raise typer.Exit(1)


def as_markdown(rows: Iterable[Sequence[str]]) -> str:
    """Return the table of the rows as Markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def verdict(count: int, bad: int) -> str:
    """Return the last line: how many scenarios there were, and how many are not equal."""
    counted = f"{count} scenario{'' if count == 1 else 's'}"
    return f"{bad} of {counted} with differences" if bad else f"{counted}, no difference"


def _compare_all(scenarios: Sequence[Scenario]) -> list[Comparison]:
    comparisons = []
    with (
        Console(stderr=True).status("Starting both runtimes...") as status,
        both_runtimes() as (ground, services),
    ):
        for number, scenario in enumerate(scenarios, start=1):
            status.update(f"{number} of {len(scenarios)}: {scenario.title}")
            histories = play_together(play(scenario, each) for each in services.values())
            ground.check()
            by_runtime = dict(zip(services, histories, strict=True))
            comparisons.append(compare(scenario, by_runtime))
        status.update("Stopping...")
    return comparisons
