"""The help of every command fits a terminal of 80 columns, and no sentence is cut off."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.app import app

WIDTH = 80


def commands(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """Yield the words that lead to each command, and to each group of them."""
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *words, name)


COMMANDS = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "darkroom")
def test_help_fits_and_finishes_its_sentences(words: tuple[str, ...]) -> None:
    """Typer cuts the summary of a command where it does not fit, and writes dots."""
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(WIDTH)})
    assert done.exit_code == 0
    usage, *lines = done.output.splitlines()
    assert [line for line in (usage, *lines) if len(line) > WIDTH] == []
    assert [line for line in lines if "..." in line] == []
    assert lines


def test_all_commands_are_looked_at() -> None:
    """Groups and what is in them."""
    assert {("keys",), ("keys", "create"), ("demo",), ("doctor",)} <= set(COMMANDS)
