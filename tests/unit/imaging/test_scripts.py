"""Tags in prompts."""

import math

import pytest

from shared.imaging import scripts
from shared.imaging.scripts import DAY_SECONDS, SCRIPTS, Script, parse_script


def test_plain_prompt_is_left_alone() -> None:
    """Without a tag, not even blanks change."""
    assert parse_script("a  mug\nof clay") == Script("a  mug\nof clay")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a mug [[fail]]", Script("a mug", failing_attempts=1)),
        ("[[fail:2]] a mug", Script("a mug", failing_attempts=2)),
        ("a [[rate-limit]] mug", Script("a mug", rate_limit_seconds=1)),
        ("a mug[[rate-limit:0.5]]", Script("a mug", rate_limit_seconds=0.5)),
        ("[[reject]]", Script("", rejects_prompt=True)),
        ("[[hang]]", Script("", hang_seconds=math.inf)),
        ("[[hang:0.25]]", Script("", hang_seconds=0.25)),
        ("[[block]]", Script("", block_seconds=DAY_SECONDS)),
        ("[[block:2]]", Script("", block_seconds=2)),
        ("[[crash]]", Script("", crashing_attempts=math.inf)),
        ("[[crash:1]]", Script("", crashing_attempts=1)),
        ("[[slow]]", Script("", slow_seconds=5)),
        ("[[slow:3]]", Script("", slow_seconds=3)),
        ("[[short]]", Script("", missing_images=1)),
        ("[[short:2]]", Script("", missing_images=2)),
        ("a mug [[preview]]", Script("a mug", shows_previews=True)),
        ("[[slow:1]] mug [[fail:1]]", Script("mug", slow_seconds=1, failing_attempts=1)),
        ("[[fail:1]] mug [[fail:3]]", Script("mug", failing_attempts=3)),
    ],
)
def test_tags_are_read_and_taken_out_of_the_prompt(prompt: str, expected: Script) -> None:
    """Each tag says what it says in the list, alone and with others."""
    assert parse_script(prompt) == expected


@pytest.mark.parametrize(
    "prompt", ["[[unknown]]", "[[explode:3]]", "[fail:1]", "[[ fail ]]", "[[FAIL]]", "[[fail:1]"]
)
def test_what_is_no_tag_stays_text(prompt: str) -> None:
    """Unknown names and other spellings are part of the prompt."""
    assert parse_script(prompt) == Script(prompt)


@pytest.mark.parametrize(
    ("tag", "failing_attempts"),
    [
        ("[[fail:-2]]", 0),
        ("[[fail:2.9]]", 2),
        ("[[fail:100000]]", 1000),
        ("[[fail:]]", 1),
        ("[[fail:many]]", 1),
        ("[[fail:1e3]]", 1),
        ("[[fail:nan]]", 1),
        ("[[fail:9999999999999999]]", 1),
    ],
)
def test_odd_numbers_become_the_nearest_bound_or_the_default(
    tag: str, failing_attempts: int
) -> None:
    """A number out of range is clamped, one that is no number is the default."""
    assert parse_script(tag).failing_attempts == failing_attempts


def test_docstring_lists_every_tag() -> None:
    """The documented list and the table agree."""
    documented = scripts.__doc__ or ""
    assert all(f"[[{tag.name}" in documented for tag in SCRIPTS)
