"""Tags in prompts."""

import math

import pytest

from shared.api.schemas import JOB_ERRORS
from shared.imaging.providers.mock_scripts import DAY_SECONDS, SCRIPTS, parse_script


def test_plain_prompt_is_left_alone() -> None:
    """Without a tag, not even blanks change."""
    assert parse_script("a  mug\nof clay") == ("a  mug\nof clay", {})


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a mug [[fail]]", ("a mug", {"fail": 1})),
        ("[[fail:2]] a mug", ("a mug", {"fail": 2})),
        ("a [[rate-limit]] mug", ("a mug", {"rate-limit": 1})),
        ("a mug[[rate-limit:0.5]]", ("a mug", {"rate-limit": 0.5})),
        ("[[reject]]", ("", {"reject": 1})),
        ("[[hang]]", ("", {"hang": math.inf})),
        ("[[hang:0.25]]", ("", {"hang": 0.25})),
        ("[[block]]", ("", {"block": DAY_SECONDS})),
        ("[[block:2]]", ("", {"block": 2})),
        ("[[crash]]", ("", {"crash": math.inf})),
        ("[[crash:1]]", ("", {"crash": 1})),
        ("[[slow]]", ("", {"slow": 5})),
        ("[[slow:3]]", ("", {"slow": 3})),
        ("[[short]]", ("", {"short": 1})),
        ("[[short:2]]", ("", {"short": 2})),
        ("a mug [[preview]]", ("a mug", {"preview": 1})),
        ("[[slow:1]] mug [[fail:1]]", ("mug", {"slow": 1, "fail": 1})),
        ("[[fail:1]] mug [[fail:3]]", ("mug", {"fail": 3})),
    ],
)
def test_tags_are_read_and_taken_out_of_the_prompt(
    prompt: str, expected: tuple[str, dict[str, float]]
) -> None:
    """Each tag says what it says in the list, alone and with others."""
    assert parse_script(prompt) == expected


@pytest.mark.parametrize(
    "prompt", ["[[unknown]]", "[[explode:3]]", "[fail:1]", "[[ fail ]]", "[[FAIL]]", "[[fail:1]"]
)
def test_what_is_no_tag_stays_text(prompt: str) -> None:
    """Unknown names and other spellings are part of the prompt."""
    assert parse_script(prompt) == (prompt, {})


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
    assert parse_script(tag) == ("", {"fail": number})


def test_every_error_that_a_job_may_have_has_a_tag() -> None:
    """So that every state of an interface can be produced without a key."""
    assert {tag.code for tag in SCRIPTS if tag.code} == {kind.code for kind in JOB_ERRORS}


def test_each_tag_is_listed_as_it_may_be_written() -> None:
    """The example of a tag is that tag, with its default."""
    for tag in SCRIPTS:
        assert parse_script(tag.example)[1] == {tag.name: tag.default}
