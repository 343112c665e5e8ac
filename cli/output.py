"""All that the command line prints: lines for people, JSON for programs.

Nothing that a terminal would obey reaches it, wherever a text comes from.
"""

from collections.abc import Iterable

import typer

from shared.terminal import printable, printable_json


def say(text: object, *, err: bool = False) -> None:
    """Print one line; to standard error if a program reads the other output."""
    typer.echo(printable(str(text)), err=err)


def say_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print several lines."""
    for line in lines:
        say(line, err=err)


def say_json(text: str) -> None:
    """Print JSON."""
    typer.echo(printable_json(text))
