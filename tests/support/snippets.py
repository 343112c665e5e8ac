"""The code blocks of README and docs, each with its mark, and a shell that runs them.

A mark is a comment of Markdown above a block, which no reader sees:

- `<!-- run: http -->`: a test runs it; the word names which one (`KINDS`).
- `<!-- run: http, fails -->`: the same, and its last command exits with 1.
- `<!-- output -->`: what a block of the page before it prints, line by line, among other lines.
- `<!-- not run: reason -->`: this machine cannot run it.
- `<!-- blocks below are not run: reason -->`: the same for the rest of the page.
"""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md")))

KINDS = {
    "http": "tests/contract/test_snippets.py",
    "browser": "tests/browser/test_snippets.py",
    "webhooks": "tests/contract/test_webhooks.py",
    "make": "tests/runtimes/test_snippets.py",
    "servers": "tests/runtimes/test_snippets.py",
    "python": "tests/runtimes/test_snippets.py",
    "compose": "tests/support/compose.py",
    "upgrade": "tests/docker/test_compose_upgrade.py",
}
"""Which file of the tests runs the blocks of a mark."""

LANGUAGES = {"sh", "python", "js", "sql"}
TIMEOUT_SECONDS = 90

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (?P<mark>(?:run|not run): .+|output) -->\n\Z")
_PAGE_MARK = re.compile(r"<!-- blocks below are (?P<mark>not run: .+) -->")
_ID = re.compile(r'"id": ?"([0-9a-f-]{36})"|^job ([0-9a-f-]{36})$|^key (\S+) of', re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        mark: The text of its mark; empty if it has none.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def kind(self) -> str | None:
        """The word of `KINDS` that says which test runs it."""
        word = self.mark.removeprefix("run: ").partition(",")[0]
        return word if self.mark.startswith("run: ") else None

    @property
    def place(self) -> str:
        """Where it stands, for messages and the names of tests."""
        return f"{self.page.relative_to(PROJECT)}:{self.line}"

    def __str__(self) -> str:
        return self.place


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()]
        own, rest = _MARK.search(before), _PAGE_MARK.findall(before)
        mark = own["mark"] if own else rest[-1] if rest else ""
        line = before.count("\n") + 1
        yield Block(page, line, fence["language"], fence["text"], mark)


def blocks_of_kind(kind: str, page: Path) -> list[Block]:
    """Return the blocks of a page that the test of this kind runs, with those of their output."""
    found, last = [], None
    for block in blocks_of(page):
        last = last if block.mark == "output" else block.kind
        if last == kind:
            found.append(block)
    return found


def page_name(page: Path) -> str:
    """Return the name of a page, for the names of tests."""
    return page.stem.lower()


def pages_of_kind(kind: str) -> list[Path]:
    """Return the pages that have such blocks."""
    return [page for page in PAGES if blocks_of_kind(kind, page)]


def commands_of(text: str) -> list[str]:
    """Return the commands of a block of shell, without comments; one may have several lines."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"(^|\s)#.*$", "", text, flags=re.MULTILINE))
    return [line.strip() for line in joined.splitlines() if line.strip()]


class Shell:
    """Runs the blocks of one page, command by command, as a reader pastes them.

    `<id>` stands for the id in the first output that shows one of a job, an asset or a key.

    Args:
        environment: Of every command.
        folder: Where they run.
        replacements: Texts of the page, and what stands for them here.
        settle: Called with the id of a job before it is used.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        replacements: Mapping[str, str],
        settle: Callable[[str], object],
    ) -> None:
        home = folder / "home"
        home.mkdir()
        # Without it curl exits with 0 whatever the API answers.
        (home / ".curlrc").write_text("fail\n")
        self._environment = {**environment, "HOME": str(home)}
        self._folder = folder
        self._replacements = replacements
        self._settle = settle
        self._exports: list[str] = []
        self._id = ""
        self.output = ""

    def run(self, block: Block) -> None:
        """Run the commands of a block, or check a block of output.

        Raises:
            AssertionError: A command failed, or a line of output did not come.
        """
        if block.mark == "output":
            check_output(block, self.output)
            self.output = ""
            return
        commands = commands_of(block.text)
        for number, command in enumerate(commands, start=1):
            must_fail = block.mark.endswith(", fails") and number == len(commands)
            self._run(command, block.place, 1 if must_fail else 0)

    def _run(self, command: str, place: str, code: int) -> None:
        for text, own in self._replacements.items():
            command = command.replace(text, own)
        if command.startswith("export "):
            self._exports.append(command)
        uses_id = "<id>" in command
        if re.search(r"generations/<id>|darkroom \w+ <id>", command) and self._id[8:9] == "-":
            self._settle(self._id)
        script = "\n".join([*self._exports, command.replace("<id>", self._id)])
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{place}: {command}: {done.returncode}: {done.stdout}"
        found = _ID.search(done.stdout)
        if found and not uses_id:
            self._id = next(filter(None, found.groups()))
        self.output += done.stdout


def check_output(block: Block, output: str) -> None:
    """Check that the lines of a block came, in this order.

    Raises:
        AssertionError: One did not; names it.
    """
    lines = iter(output.splitlines())
    for wanted in block.text.splitlines():
        assert any(line.rstrip() == wanted.rstrip() for line in lines), (
            f"{block.place}: {wanted!r} did not come:\n{output}"
        )
