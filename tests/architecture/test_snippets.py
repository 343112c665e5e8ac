"""Every block of code in README and docs is run by a test, or says why it is not."""

import ast
import re
import subprocess

import pytest

from tests.support.snippets import KINDS, LANGUAGES, PAGES, PROJECT, Block, blocks_of

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
CODE = [block for block in BLOCKS if block.language in LANGUAGES]


@pytest.mark.parametrize("block", CODE, ids=str)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    """Its mark names a test that there is, or a reason."""
    assert block.mark, "put a mark above it: see tests/support/snippets.py"
    assert block.kind is None or (PROJECT / KINDS[block.kind]).is_file()


@pytest.mark.parametrize("block", CODE, ids=str)
def test_a_block_can_be_parsed(block: Block) -> None:
    """Also one that is not run."""
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "sh":
        text = re.sub(r"<[\w' ]+>", "placeholder", block.text)
        done = subprocess.run(
            ["bash", "-n", "-c", text], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_blocks_that_are_run_are_found() -> None:
    """A mark that is misspelled would be no mark."""
    marks = sum(page.read_text().count("<!-- run: ") for page in PAGES)
    assert marks == sum(block.kind is not None for block in BLOCKS) > 0
