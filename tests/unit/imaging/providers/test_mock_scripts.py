"""Tags in prompts."""

import math

import pytest

from shared.imaging.providers.mock_scripts import DAY_SECONDS, SCRIPTS, Script, parse_script


def test_plain_prompt_is_left_alone() -> None:
    """Without a tag, not even blanks change."""
    assert parse_script("a  mug\nof clay") == Script("a  mug\nof clay")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a mug [[fail]]", Script("a mug", {"fail": 1})),
        ("[[fail:2]] a mug", Script("a mug", {"fail": 2})),
        ("a [[rate-limit]] mug", Script("a mug", {"rate-limit": 1})),
        ("a mug[[rate-limit:0.5]]", Script("a mug", {"rate-limit": 0.5})),
        ("[[reject]]", Script("", {"reject": 1})),
        ("[[hang]]", Script("", {"hang": math.inf})),
        ("[[hang:0.25]]", Script("", {"hang": 0.25})),
        ("[[block]]", Script("", {"block": DAY_SECONDS})),
        ("[[block:2]]", Script("", {"block": 2})),
        ("[[crash]]", Script("", {"crash": math.inf})),
        ("[[crash:1]]", Script("", {"crash": 1})),
        ("[[slow]]", Script("", {"slow": 5})),
        ("[[slow:3]]", Script("", {"slow": 3})),
        ("[[short]]", Script("", {"short": 1})),
        ("[[short:2]]", Script("", {"short": 2})),
        ("a mug [[preview]]", Script("a mug", {"preview": 1})),
        ("[[slow:1]] mug [[fail:1]]", Script("mug", {"slow": 1, "fail": 1})),
        ("[[fail:1]] mug [[fail:3]]", Script("mug", {"fail": 3})),
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
    ("tag", "number"),
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
def test_odd_numbers_become_the_nearest_bound_or_the_default(tag: str, number: int) -> None:
    """A number out of range is clamped, one that is no number is the default."""
    script = parse_script(tag)
    assert "fail" in script
    assert script.number("fail") == number


def test_absent_tags_count_nothing() -> None:
    """Whatever their default."""
    script = parse_script("a mug [[fail]]")
    absent = [tag.name for tag in SCRIPTS if tag.name != "fail"]
    assert not [name for name in absent if name in script or script.number(name)]


def test_each_tag_is_listed_as_it_may_be_written() -> None:
    """The example of a tag is that tag, with its default."""
    for tag in SCRIPTS:
        assert parse_script(tag.example).numbers == {tag.name: tag.default}
