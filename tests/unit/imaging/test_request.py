"""The generation request and its limits."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import InvalidRequest
from shared.imaging.request import GenerationRequest


def test_request_needs_only_a_prompt() -> None:
    """Everything but the prompt has a default."""
    request = GenerationRequest.from_untrusted({"prompt": "  a blue mug \r\n"})
    assert request.prompt == "a blue mug"
    assert (request.style, request.size, request.n) == ("studio-white", "1024x1024", 1)
    assert (request.seed, request.workspace_id) == (None, "default")
    assert (request.user_id, request.product_id, request.metadata) == (None, None, {})


def test_request_at_its_limits_is_accepted() -> None:
    """The largest value of each field is still allowed."""
    data = {
        "prompt": "x" * 4000,
        "n": 10,
        "seed": 2**31 - 1,
        "workspace_id": "w" * 64,
        "user_id": "u.-_9",
        "metadata": {f"{index:064}": "v" * 512 for index in range(16)},
    }
    assert GenerationRequest.from_untrusted(data).n == 10


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": " \n "}, "prompt must not be empty"),
        ({"prompt": "x" * 4001}, "prompt must have at most 4000 characters, not 4001"),
        ({"prompt": "a\x00b"}, "prompt must not contain the control character U+0000"),
        ({"prompt": "a\x1bb"}, "prompt must not contain the control character U+001B"),
        ({"prompt": "a\ud800b"}, "prompt"),
        ({"style": "oil-painting"}, "style"),
        ({"size": "640 x 480"}, "size should match pattern"),
        ({"n": 0}, "n "),
        ({"n": 11}, "n "),
        ({"n": "3"}, "n "),
        ({"n": True}, "n "),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"workspace_id": ""}, "workspace_id"),
        ({"workspace_id": "w" * 65}, "workspace_id"),
        ({"workspace_id": "a/b"}, "workspace_id"),
        ({"user_id": " a b"}, "user_id"),
        ({"product_id": "a\n"}, "product_id"),
        ({"metadata": {str(index): "" for index in range(17)}}, "metadata"),
        ({"metadata": {"": "v"}}, "metadata"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"k": "\x00"}}, "metadata.k must not contain"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"colour": "red"}, "colour is not a known field"),
    ],
)
def test_each_limit_is_kept_and_names_its_field(change: dict[str, Any], named: str) -> None:
    """One wrong field makes one line that names it."""
    with pytest.raises(InvalidRequest) as raised:
        GenerationRequest.from_untrusted({"prompt": "a mug", **change})
    line = str(raised.value)
    assert line.startswith("request: ")
    assert named in line
    assert "\n" not in line


def test_every_wrong_field_is_named_in_the_same_line() -> None:
    """A client learns of all its mistakes at once."""
    with pytest.raises(InvalidRequest, match=r"prompt is missing; n should be .*10$"):
        GenerationRequest.from_untrusted({"n": 11})


@pytest.mark.parametrize("data", [None, [], "prompt", 3])
def test_what_is_no_object_is_refused(data: object) -> None:
    """A body that is no JSON object is an invalid request like any other."""
    with pytest.raises(InvalidRequest, match=r"^request: input should be a valid dict"):
        GenerationRequest.from_untrusted(data)


def test_request_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    request = GenerationRequest(prompt="a mug")
    with pytest.raises(ValidationError):
        request.n = 50  # type: ignore[misc] # that is what is refused


def test_params_hold_what_the_row_keeps() -> None:
    """The row's params name prompt, style, size, n, seed and metadata, and no owners."""
    request = GenerationRequest(prompt="a mug", seed=7, user_id="u1", metadata={"sku": "9"})
    assert request.params().as_row() == {
        "prompt": "a mug",
        "style": "studio-white",
        "size": "1024x1024",
        "n": 1,
        "seed": 7,
        "metadata": {"sku": "9"},
    }


def test_params_draw_a_seed_where_none_was_given() -> None:
    """Two jobs without a seed get different ones, both within the limits."""
    request = GenerationRequest(prompt="a mug")
    seeds = {request.params().seed for _ in range(3)}
    assert len(seeds) > 1
    assert all(0 <= seed < 2**31 for seed in seeds)
