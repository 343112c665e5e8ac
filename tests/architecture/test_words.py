"""The texts of the project are plain English.

The words below marked sentences that had to be read twice. CONTRIBUTING.md says what to write
instead.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SUFFIXES = {
    *(".py", ".sql", ".lua", ".js", ".css", ".html", ".md", ".toml", ".yaml", ".yml", ".mk"),
    *(".txt", ".json", ".mako", ""),
}
FOLDERS = {
    *("shared", "local", "functions", "cli", "devkit"),
    *("cloud", "docker", "docs", "events", "tests", ".ci", ".github"),
}

WORDS = re.compile(
    r"""(?<![a-z])(
        whoever | (?<!['"`])nobody | somebody
        | (is|are|was|were|be|been|being)[ _]away
        | told | tells? | telling
        | shall
        | in[ _]the[ _]making
        | hear | hears | heard | hearing | heed(s|ed)? | insist(s|ed)?
        | rings? | rang | rung | doorbells? | errands?
    )(?![a-z])""",
    re.IGNORECASE | re.VERBOSE,
)

LINE_BREAK = re.compile(r"\s*\n\s*(?:#|--|//|\*)?[ ]*")
"""With the mark that begins a line of a comment."""

LICENSE = "LICENSE"
OWN = Path(__file__).relative_to(PROJECT)


def texts() -> Iterator[Path]:
    """Yield every text file of the project that people wrote."""
    for path in sorted(PROJECT.iterdir()):
        if path.is_file():
            yield path.relative_to(PROJECT)
        elif path.name in FOLDERS:
            yield from (inner.relative_to(PROJECT) for inner in path.rglob("*") if inner.is_file())


def is_checked(path: Path) -> bool:
    """Return whether the file holds prose or product text of ours."""
    is_foreign = path.name.startswith(LICENSE) or path.name.endswith(".lock")
    return not is_foreign and path.suffix in SUFFIXES and path != OWN


def findings(text: str) -> list[str]:
    """Return each use of one of the words, with what stands around it, across line breaks."""
    line = LINE_BREAK.sub(" ", text)
    return [line[max(match.start() - 30, 0) : match.end() + 30] for match in WORDS.finditer(line)]


def test_texts_avoid_words_that_are_hard_to_read() -> None:
    """In prose, in product text and in the names of tests."""
    found = {
        f"{path}: {line}"
        for path in texts()
        if is_checked(path)
        for line in findings((PROJECT / path).read_text(encoding="utf-8", errors="replace"))
    }
    assert sorted(found) == []


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("Whoever comes late sees it", True),
        ("def test_nobody_pays_twice() -> None:", True),
        ("while PostgreSQL is away", True),
        ("# while PostgreSQL is\n    # away", True),
        ("a picture in the making", True),
        ("the row is told", True),
        ("while PostgreSQL is unavailable", False),
        ("PostgreSQL runs as 'nobody'", False),
        ("a string that rarely marshalls", False),
        ("with shared.ringing", False),
    ],
)
def test_the_words_are_found_as_whole_words(line: str, is_found: bool) -> None:
    """Also inside the names of functions, and in any case."""
    assert bool(findings(line)) is is_found
