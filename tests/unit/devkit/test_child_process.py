"""A child process that is made of two commands, as PostgreSQL is of initdb and postgres."""

import os
from pathlib import Path

import pytest

from devkit.child_process import ChildProcess
from shared.errors import ServiceUnavailable


class TwoCommands(ChildProcess):
    """Runs `true`, and once that has ended the last command; answers at the third question."""

    def __init__(self, folder: Path, last: str) -> None:
        super().__init__("It", folder / "log")
        self._last, self._folder, self._questions = last, folder, 0

    def _begin(self) -> None:
        self._run("true")

    def _run(self, command: str) -> None:
        self._spawn(["/bin/sh", "-c", command], os.environ, self._folder)

    def answers(self) -> bool:
        """Be asked first while `true` runs, which then ends before anything else is looked at."""
        self._questions += 1
        self._main().wait() if self._questions != 2 else self._run(self._last)
        return self._questions == 3 and self._last != "false"


def test_first_command_may_end_at_any_moment(tmp_path: Path) -> None:
    """Also between the question whether it answers and the one whether it runs."""
    with TwoCommands(tmp_path, "sleep 0.1").running() as process:
        assert process.pid


def test_command_that_ends_is_noticed(tmp_path: Path) -> None:
    """The message ends with its last line."""
    process = TwoCommands(tmp_path, "false")
    with pytest.raises(ServiceUnavailable, match="It did not start: no log"):
        process.start()
