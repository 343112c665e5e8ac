"""What the command line makes of the values that it shows and takes."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.client_app import age_of
from cli.generate import metadata_of
from shared.errors import InvalidRequest

NOW = datetime(2026, 11, 23, 19, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (7_300, "2 h"),
        (90_000, "1 d"),
    ],
)
def test_age_is_shown_in_its_largest_unit(seconds: float, age: str) -> None:
    """A clock that is a little behind makes nothing younger than now."""
    assert age_of(NOW - timedelta(seconds=seconds), NOW) == age


def test_metadata_is_split_at_the_first_sign() -> None:
    """A value may hold more of them, or be empty."""
    assert metadata_of(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(InvalidRequest, match="must be key=value, not 'plain'"):
        metadata_of(["a=b", "plain"])
