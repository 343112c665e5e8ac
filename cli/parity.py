"""`darkroom parity`: every scenario through both runtimes, side by side."""

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from devkit.parity.compare import Comparison, compare
from devkit.parity.ground import both_runtimes
from devkit.parity.play import play, play_together
from devkit.parity.report import as_markdown, as_table, details, verdict
from devkit.parity.scenarios import SCENARIOS, Scenario, select_scenarios

WIDTH_OF_FILES = 160
"""Columns of the table where standard output is no terminal."""


def list_scenarios() -> None:
    """Print the names of the scenarios, and what they are."""
    for scenario in SCENARIOS:
        typer.echo(f"{scenario.name:<24}{scenario.title}")


def run_parity(names: Sequence[str], *, is_markdown: bool) -> None:
    """Run the scenarios, print the comparison, and end with 1 unless all is equal.

    Raises:
        ConfigurationError: There is no such scenario, or this machine lacks something.
        ServiceUnavailable: A server or a runtime did not come up, or has ended.
    """
    comparisons = _compare_all(select_scenarios(names))
    if is_markdown:
        typer.echo(as_markdown(comparisons))
    else:
        console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
        console.print(as_table(comparisons))
    bad = [comparison for comparison in comparisons if not comparison.is_good]
    for comparison in bad:
        typer.echo("\n".join(details(comparison)), err=is_markdown)
    typer.echo(verdict(comparisons), err=is_markdown)
    if bad:
        raise typer.Exit(1)


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
