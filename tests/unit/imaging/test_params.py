"""Params of a row, also of rows that foreign producers wrote."""

from typing import Any
from uuid import UUID

import pytest

from shared.errors import InvalidRequest
from shared.imaging.params import ImageParams
from shared.imaging.request import GenerationRequest

JOB_ID = UUID("12345678-1234-5678-1234-567812345678")


def test_params_of_a_request_are_read_back() -> None:
    """What submit wrote is what the service reads."""
    request = GenerationRequest(
        prompt="a mug",
        style="outdoor",
        size="1536x1024",
        n=3,
        seed=5,
        on_unknown_charge="fail",
        max_cost=9,
        metadata={"sku": "1"},
    )
    params = ImageParams(
        prompt="a mug",
        style="outdoor",
        size="1536x1024",
        n=3,
        seed=5,
        on_unknown_charge="fail",
        max_cost=9,
        metadata={"sku": "1"},
    )
    assert request.params() == params
    assert ImageParams.from_row(params.as_row(), JOB_ID) == params


@pytest.mark.parametrize(
    "params",
    [
        {"prompt": " a mug\n"},
        {"prompt": "a mug", "style": None, "size": None, "n": None, "seed": None},
        {"prompt": "a mug", "quality": "high", "metadata": 3},
    ],
)
def test_row_of_a_foreign_producer_needs_only_a_prompt(params: dict[str, Any]) -> None:
    """Absent fields get defaults, unknown ones are passed over."""
    read = ImageParams.from_row(params, JOB_ID)
    assert (read.prompt, read.style, read.size_px, read.n) == (
        "a mug",
        "studio-white",
        (1024, 1024),
        1,
    )


def test_missing_seed_follows_from_the_job() -> None:
    """Every attempt of a job without a seed uses the same one; another job uses another."""
    params = {"prompt": "a mug"}
    seed = ImageParams.from_row(params, JOB_ID).seed
    assert seed == ImageParams.from_row(params, JOB_ID).seed
    assert seed != ImageParams.from_row(params, UUID(int=JOB_ID.int + 1)).seed
    assert 0 <= seed < 2**31


@pytest.mark.parametrize("name", ["on_unknown_charge", "max_cost"])
@pytest.mark.parametrize("value", [None, True, "1", ["retry"], 1.5])
def test_a_condition_that_is_none_counts_as_absent(name: str, value: Any) -> None:
    """What a foreign producer wrote there must not end the job."""
    params = ImageParams.from_row({"prompt": "a mug", name: value}, JOB_ID)
    assert (params.on_unknown_charge, params.max_cost) == (None, None)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "params: prompt is missing"),
        ({"prompt": None}, "params: prompt is missing"),
        ({"prompt": 3}, "params: prompt should be a valid string"),
        ({"prompt": "  "}, "params: prompt must not be empty"),
        ({"prompt": "x" * 4001}, "params: prompt must have at most 4000 characters, not 4001"),
        ({"prompt": "\ud800"}, "params: prompt must not contain the control character U+D800"),
        ({"prompt": "x", "style": "oil"}, "params: style should be 'studio-white', "),
        ({"prompt": "x", "style": ["oil"]}, "params: style should be 'studio-white', "),
        ({"prompt": "x", "size": "1x1"}, "params: size should match pattern "),
        ({"prompt": "x", "size": 256}, "params: size should be a valid string"),
        ({"prompt": "x", "n": 0}, "params: n should be greater than or equal to 1"),
        ({"prompt": "x", "n": 11}, "params: n should be less than or equal to 10"),
        ({"prompt": "x", "n": True}, "params: n should be a valid integer"),
        ({"prompt": "x", "n": 1.5}, "params: n should be a valid integer"),
        ({"prompt": "x", "seed": -1}, "params: seed should be greater than or equal to 0"),
        ({"prompt": "x", "seed": "7"}, "params: seed should be a valid integer"),
    ],
)
def test_badly_written_row_is_refused_in_one_clear_line(
    params: dict[str, Any], message: str
) -> None:
    """The line names the field, and what it must be."""
    with pytest.raises(InvalidRequest) as raised:
        ImageParams.from_row(params, JOB_ID)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
