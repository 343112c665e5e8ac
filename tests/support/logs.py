"""The file that a runtime logs to, read as it grows; and what may stand in it."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LEVELS = frozenset({"debug", "info", "warning", "error", "exception"})


def logged_by(*sources: str) -> frozenset[str]:
    """Return the events that modules log; a source is a module, or a folder with all its own."""
    found = set[str]()
    for source in sources:
        path = ROOT / source
        for module in path.rglob("*.py") if path.is_dir() else (path,):
            for node in ast.walk(ast.parse(module.read_text())):
                match node:
                    case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(event), *_]):
                        found.update({str(event)} if level in LEVELS else ())
    return frozenset(found)


class LogFile:
    """Reads each line of a log once, however often it is asked for the whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines: list[Mapping[str, Any]] = []
        self._other_lines: list[str] = []
        self._unchecked: list[str] = []

    def lines(self) -> list[Mapping[str, Any]]:
        """Return the JSON lines so far, without those of metrics.

        Each line that begins like JSON has to be JSON.
        """
        self._read_on()
        return self._lines

    def other_lines(self) -> list[str]:
        """Return the lines so far that are no JSON."""
        self._read_on()
        return self._other_lines

    def text(self) -> str:
        """Return the whole file."""
        return self._path.read_text(errors="replace")

    def take_unchecked_text(self) -> str:
        """Return what was logged since the last time this was asked."""
        self._read_on()
        text, self._unchecked = "\n".join(self._unchecked), []
        return text

    def _read_on(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.decode(errors="replace").splitlines():
            self._unchecked.append(line)
            if line.startswith("{"):
                read = json.loads(line)
                self._lines += [] if "_aws" in read else [read]
            else:
                self._other_lines.append(line)
