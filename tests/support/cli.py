"""The command line as its users meet it: real processes, which must leave nothing behind."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil

from tests.support.wait import wait_until

PROJECT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60
GONE_WITHIN_SECONDS = 10

MARK = "DARKROOM_TEST_RUN"
"""Every process below a command inherits this variable, and is known by its value."""


def processes_with(mark: str) -> list[psutil.Process]:
    """Return the processes that a command with this mark has left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


@contextmanager
def tidy_environment() -> Iterator[Mapping[str, str]]:
    """Give an environment in which commands must leave neither process nor temporary file."""
    folder = Path(tempfile.mkdtemp(prefix="cli-", dir="/tmp"))
    # The account that PostgreSQL runs as in place of root must get through.
    folder.chmod(0o711)
    mark = uuid4().hex
    given = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
    yield {
        **given,
        "PYTHONPATH": str(PROJECT),
        "TMPDIR": str(folder),
        "MOCK_STEP_SECONDS": "0.05",
        MARK: mark,
    }
    try:
        wait_until(lambda: not processes_with(mark), GONE_WITHIN_SECONDS, "a process is left")
        assert list(folder.iterdir()) == []
    finally:
        for process in processes_with(mark):
            process.kill()
        shutil.rmtree(folder)


def command(*arguments: str) -> list[str]:
    """Return the command line of `darkroom` with these arguments."""
    return [sys.executable, "-P", "-m", "cli", *arguments]


def darkroom(
    environment: Mapping[str, str], *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `darkroom` to its end."""
    return subprocess.run(
        command(*arguments),
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


class Session:
    """A `darkroom`, or another program, that is watched while it runs."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        *arguments: str,
        program: Sequence[str] = (),
    ) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*program, *arguments] if program else command(*arguments),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self._err.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until standard output holds the text."""
        wait_until(
            lambda: text in self.out or self.process.poll() is not None,
            PATIENCE_SECONDS,
            f"{text!r} did not come",
        )
        assert text in self.out, self.err

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(PATIENCE_SECONDS)


def process_below(session: Session, module: str) -> psutil.Process:
    """Return the process of a session that runs a module."""
    return next(
        process
        for process in psutil.Process(session.process.pid).children()
        if module in process.cmdline()
    )
