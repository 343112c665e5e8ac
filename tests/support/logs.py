"""The file that a runtime logs to, read as it grows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
