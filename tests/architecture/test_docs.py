"""README, docs and the files beside them are complete, short where they must be, and true."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import __version__
from tests.architecture.test_fixed_texts import ERROR_CODES

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
README = PROJECT / "README.md"
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())

README_MAX_LINES = 160
README_MAX_WORDS = 1300
IMAGE_MAX_BYTES = 300_000

_LINK = re.compile(
    r"\]\((?P<target>[^)\s]+)(?: \"(?P<title>[^\"]+)\")?\)|(?:src|srcset)=\"([^\"]+)\""
)


def text_without_code(page: Path) -> str:
    """Return the text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def links() -> Iterator[tuple[Path, str, str | None]]:
    """Yield every link to a file of the project: its page, its target, its title."""
    for page in PAGES:
        for match in _LINK.finditer(text_without_code(page)):
            target = match["target"] or match[3]
            if "://" not in target:
                yield page, target, match["title"]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that the headings of a page make."""
    headings = re.findall(r"^#+ (.+)$", text_without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in headings}


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    """From any page to any other, and to the code."""
    broken = []
    for page, target, _ in links():
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(f"{page.relative_to(PROJECT)}: {target}")
    assert broken == []


def test_every_promise_of_the_readme_names_a_test() -> None:
    """The title of its link is a test function of the file that it leads to."""
    section = README.read_text().partition("## What it promises")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ") and "---" not in row][1:]
    assert rows
    for row in rows:
        proofs = re.findall(r"\((tests/[\w/]+\.py) \"(test_\w+)\"\)", row)
        assert proofs, row
        for path, name in proofs:
            tree = ast.parse((PROJECT / path).read_text())
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert name in names, f"{path} has no {name}"


def test_readme_is_short() -> None:
    """It makes a first impression; everything else is in the docs."""
    text = README.read_text()
    assert len(text.splitlines()) <= README_MAX_LINES
    assert len(text.split()) <= README_MAX_WORDS


def test_index_lists_every_page() -> None:
    """But the decisions, which it links as a folder."""
    index = (DOCS / "index.md").read_text()
    pages = [page.relative_to(DOCS) for page in DOCS.rglob("*.md")]
    listed = [page for page in pages if page.parts[0] != "decisions" and page.name != "index.md"]
    assert [str(page) for page in listed if f"({page})" not in index] == []


def test_every_page_of_the_guide_says_what_one_can_do_after_it() -> None:
    """In its first paragraph."""
    guide = (DOCS / "index.md").read_text().partition("## Guide")[2].partition("\n## ")[0]
    pages = re.findall(r"\[[^]]+\]\(([\w-]+\.md)\)", guide)
    assert len(pages) >= 8
    for page in pages:
        text = re.sub(r"<!--.*?-->\n*", "", (DOCS / page).read_text())
        assert text.split("\n\n")[1].startswith("After this page"), page


def test_page_of_errors_names_every_code() -> None:
    """Those of jobs, and those of refused requests."""
    text = (DOCS / "reference" / "errors.md").read_text()
    assert [code for code in ERROR_CODES.split() if f"`{code}`" not in text] == []


def test_changelog_has_the_version_of_the_project() -> None:
    """And a place for what comes next."""
    text = (PROJECT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[([^]]+)\]", text, re.MULTILINE)
    assert headings[:2] == ["Unreleased", __version__]


def test_every_shipped_package_is_marked_as_typed() -> None:
    """As the classifier says; a type checker ignores annotations without the file."""
    assert "Typing :: Typed" in METADATA["project"]["classifiers"]
    packages = METADATA["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert [name for name in packages if not (PROJECT / name / "py.typed").is_file()] == []


def test_licence_is_the_one_that_the_metadata_names() -> None:
    """And is part of the wheel."""
    project = METADATA["project"]
    assert (project["license"], project["license-files"]) == ("MIT", ["LICENSE"])
    assert (PROJECT / "LICENSE").read_text().startswith("MIT License\n")


def test_images_of_the_docs_are_small() -> None:
    """A visitor loads them with the page."""
    images = [path for path in (DOCS / "images").glob("*") if path.is_file()]
    assert [path.name for path in images if path.stat().st_size > IMAGE_MAX_BYTES] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"])
def test_readme_links_the_files_that_people_look_for(name: str) -> None:
    """Under the names that people expect."""
    assert f"({name})" in README.read_text()
