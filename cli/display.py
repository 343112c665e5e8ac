"""How the progress of a job is shown: a bar on a terminal, a line for each event elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from shared.status import Step


class Display(Protocol):
    """Shows one thing after another, until its block ends."""

    def say(self, text: str) -> None:
        """Show what is being waited for."""
        ...

    def show(self, step: Step) -> None:
        """Show where the job stands."""
        ...

    def note(self, text: str) -> None:
        """Show something that stays to be read."""
        ...


class LineDisplay:
    """Writes a line each time, at once."""

    def say(self, text: str) -> None:
        """Show what is being waited for."""
        typer.echo(f"{text}...")

    def show(self, step: Step) -> None:
        """Show where the job stands."""
        typer.echo(f"{step.progress:3d} %  {step.status.value:<10}  {step.message}")

    def note(self, text: str) -> None:
        """Show something that stays to be read."""
        typer.echo(text)


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

    def note(self, text: str) -> None:
        """Show something that stays to be read, above the bar."""
        self._progress.console.print(Text(text))


class QuietDisplay:
    """Leaves standard output to a machine; what a person must know goes to standard error."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def show(self, step: Step) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Write the line."""
        typer.echo(text, err=True)


@contextmanager
def display(*, is_quiet: bool = False) -> Iterator[Display]:
    """Give the display that fits standard output; the terminal is tidy afterwards."""
    if is_quiet:
        yield QuietDisplay()
        return
    console = Console()
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        yield LineDisplay()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console) as progress:
        yield BarDisplay(progress)
