"""Texts for a terminal: nothing in them commands it or changes the order of what it shows."""

import ast
import json
import sys
import unicodedata
from pathlib import Path

import pytest

from shared.terminal import printable, printable_json

HIDDEN = [
    chr(number)
    for number in range(sys.maxunicode + 1)
    if unicodedata.category(chr(number)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
]
CLI = Path(__file__).parents[2] / "cli"


def test_no_character_that_controls_or_formats_is_left() -> None:
    """Of all that there are: what controls is a space, what formats is nothing."""
    assert set(printable("".join(HIDDEN))) == {" "}
    assert printable("a\x1b[31mb\u202ec\u200bd\ne") == "a [31mbcd e"


@pytest.mark.parametrize("text", ["", "A mug, 50 %", "né 像 👩", "\ue000\U0010ffff"])
def test_other_text_stays_as_it_is(text: str) -> None:
    """Whatever its script, known to this Python or not."""
    assert printable(text) == printable_json(text) == text


def test_json_keeps_its_meaning() -> None:
    """What is hidden is escaped: a program reads the same text."""
    whole = [sign for sign in HIDDEN if unicodedata.category(sign) != "Cs"]
    value = {"".join(whole): ["né\U000e0041", "\x7f", "\ud800"]}
    shown = printable_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert not set(HIDDEN) - {"\n"} & set(shown)
    assert json.loads(shown) == value


def test_the_command_line_prints_in_one_place() -> None:
    """Else a text could reach the terminal as it is."""
    allowed = {"output.py", "errors.py"}
    printing = {
        path.name
        for path in CLI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("echo", "write", "secho")
    }
    assert printing - allowed == set()
