"""Whether a call that may have been billed is followed by another."""

from typing import Any
from uuid import UUID

import pytest

from shared.generation.charges import ChargePolicy
from shared.imaging.provider import ChargeState
from shared.jobs.model import Claim, EarlierCalls


@pytest.mark.parametrize(
    ("setting", "params", "accepts"),
    [
        ("retry", {}, True),
        ("fail", {}, False),
        ("retry", {"on_unknown_charge": "fail"}, False),
        ("fail", {"on_unknown_charge": "retry"}, True),
        ("fail", {"on_unknown_charge": None}, False),
        ("fail", {"on_unknown_charge": ["retry"]}, False),
    ],
)
def test_the_request_decides_before_the_setting(
    setting: str, params: dict[str, Any], accepts: bool
) -> None:
    """What a foreign producer wrote, and is neither word, counts as nothing."""
    policy = ChargePolicy(setting)
    assert policy.accepts_double(params) is accepts
    assert policy.allows_another(params, ChargeState.UNKNOWN) is accepts


@pytest.mark.parametrize("charge_state", [ChargeState.NONE, ChargeState.CHARGED])
def test_a_bill_that_is_known_hinders_nobody(charge_state: ChargeState) -> None:
    """Only doubt does."""
    assert ChargePolicy("fail").allows_another({}, charge_state)


@pytest.mark.parametrize(
    ("most", "unknown_calls", "spent", "missing", "exceeds"),
    [
        (None, 9, 900, 3, False),
        (300, 0, 0, 3, False),
        (299, 0, 0, 3, True),
        (300, 0, 201, 1, True),
        (300, 0, 200, 1, False),
        (599, 1, 0, 3, True),
        (600, 1, 0, 3, False),
        (True, 0, 0, 3, False),
        ("1", 0, 0, 3, False),
    ],
)
def test_next_call_stays_within_what_the_request_allows(
    most: Any, unknown_calls: int, spent: int, missing: int, exceeds: bool
) -> None:
    """With all that was spent; a call in doubt counts as one for everything."""
    policy = ChargePolicy("retry", lambda _size, images: 100 * images)
    claim = Claim(
        UUID(int=1),
        "task",
        {"max_cost": most},
        2,
        3,
        2,
    )
    earlier = EarlierCalls(unknown_calls, spent)
    assert policy.exceeds_limit(claim, earlier, 3, missing) is exceeds


def test_limit_holds_nobody_up_where_nothing_has_a_price() -> None:
    """As in mock mode."""
    claim = Claim(UUID(int=1), "task", {"max_cost": 0}, 1, 3, 1)
    assert not ChargePolicy("retry").exceeds_limit(claim, EarlierCalls(), 1, 1)
