"""How the progress of a job is shown: a bar on a terminal, a line for each event elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from cli.output import say, say_json
from shared.status import Step
from shared.terminal import printable


class Display:
    """Writes a line each time, at once."""

    def say(self, text: str) -> None:
        """Show what is being waited for."""
        say(f"{text}...")

    def show(self, step: Step) -> None:
        """Show where the job stands."""
        say(f"{step.progress:3d} %  {step.status.value:<10}  {step.message}")

    def note(self, text: str) -> None:
        """Show something that stays to be read."""
        say(text)

    def head(self, text: str) -> None:
        """Show what follows; programs do not need it."""
        self.note(text)


class BarDisplay(Display):
    """Redraws one line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def say(self, text: str) -> None:
        """Show what is being waited for."""
        self._progress.update(self._task, description=printable(f"{text}..."), total=None)

    def show(self, step: Step) -> None:
        """Show where the job stands."""
        self._progress.update(
            self._task, description=printable(step.message), completed=step.progress, total=100
        )

    def note(self, text: str) -> None:
        """Show something that stays to be read, above the bar."""
        self._progress.console.print(Text(printable(text)))


class QuietDisplay(Display):
    """Leaves standard output to a program; what a person must know goes to standard error.

    Args:
        prints_steps: Whether the program reads the steps, as JSON.
    """

    def __init__(self, *, prints_steps: bool) -> None:
        self._prints_steps = prints_steps

    def show(self, step: Step) -> None:
        """Write the step, if it is read."""
        if self._prints_steps:
            say_json(step.as_json())

    def note(self, text: str) -> None:
        """Write the line."""
        say(text, err=True)

    def head(self, text: str) -> None:
        """Write nothing."""


@contextmanager
def display(*, is_quiet: bool = False, is_json: bool = False) -> Iterator[Display]:
    """Give the display that fits standard output; the terminal is tidy afterwards.

    Args:
        is_quiet: Whether a program reads the result alone.
        is_json: Whether a program reads the steps.
    """
    console = Console()
    if is_quiet or is_json:
        yield QuietDisplay(prints_steps=is_json)
    elif not sys.stdout.isatty() or console.is_dumb_terminal:
        yield Display()
    else:
        text = TextColumn("{task.description}", markup=False)
        with Progress(text, BarColumn(), TaskProgressColumn(), console=console) as progress:
            yield BarDisplay(progress)
