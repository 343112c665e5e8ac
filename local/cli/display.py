"""How the progress of a job is shown: a bar on a terminal, a line for each event elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from shared.status import Step


class Display(Protocol):
    """Shows one thing after another, until its block ends."""

    def say(self, text: str) -> None:
        """Show what is being waited for."""
        ...

    def show(self, step: Step) -> None:
        """Show where the job stands."""
        ...


class LineDisplay:
    """Writes a line each time, at once."""

    def say(self, text: str) -> None:
        """Show what is being waited for."""
        typer.echo(f"{text}...")

    def show(self, step: Step) -> None:
        """Show where the job stands."""
        typer.echo(f"{step.progress:3d} %  {step.status.value:<10}  {step.message}")


class BarDisplay:
    """Redraws one line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def say(self, text: str) -> None:
        """Show what is being waited for."""
        self._progress.update(self._task, description=f"{text}...", total=None)

    def show(self, step: Step) -> None:
        """Show where the job stands."""
        self._progress.update(
            self._task, description=step.message, completed=step.progress, total=100
        )


@contextmanager
def display() -> Iterator[Display]:
    """Give the display that fits standard output; the terminal is tidy afterwards."""
    console = Console()
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        yield LineDisplay()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console) as progress:
        yield BarDisplay(progress)
