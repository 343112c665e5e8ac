"""Whether a call that may have been billed is followed by another."""

from typing import Any
from uuid import UUID

import pytest

from shared.errors import ChargeUnknown, CostLimitReached
from shared.generation.charges import ChargePolicy
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState
from shared.imaging.providers.declaration import unknown_price
from shared.jobs.model import EarlierCalls


def params_of(**conditions: Any) -> ImageParams:
    """Return the parameters of a job for three images."""
    return ImageParams.from_row({"prompt": "a mug", "n": 3, **conditions}, UUID(int=1))


@pytest.mark.parametrize(
    ("setting", "conditions", "accepts"),
    [
        ("retry", {}, True),
        ("fail", {}, False),
        ("retry", {"on_unknown_charge": "fail"}, False),
        ("fail", {"on_unknown_charge": "retry"}, True),
        ("fail", {"on_unknown_charge": None}, False),
    ],
)
def test_the_request_decides_before_the_setting(
    setting: str, conditions: dict[str, Any], accepts: bool
) -> None:
    """Before the call and after it."""
    policy, params = ChargePolicy(setting), params_of(**conditions)
    assert policy.allows_another(params, ChargeState.UNKNOWN) is accepts
    if accepts:
        policy.check_call(params, EarlierCalls(unknown=1), missing=3, price_of=unknown_price)
    else:
        with pytest.raises(ChargeUnknown):
            policy.check_call(params, EarlierCalls(unknown=1), missing=3, price_of=unknown_price)


@pytest.mark.parametrize("charge_state", [ChargeState.NONE, ChargeState.CHARGED])
def test_a_known_bill_allows_another_call(charge_state: ChargeState) -> None:
    """Only an unknown one may not."""
    assert ChargePolicy("fail").allows_another(params_of(), charge_state)
    ChargePolicy("fail").check_call(params_of(), EarlierCalls(), missing=3, price_of=unknown_price)


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
    ],
)
def test_next_call_stays_within_what_the_request_allows(
    most: int | None, unknown_calls: int, spent: int, missing: int, exceeds: bool
) -> None:
    """With all that was spent; a call in doubt counts as one for everything."""
    policy, price_of = ChargePolicy("retry"), lambda _size, images: 100 * images
    params, earlier = params_of(max_cost=most), EarlierCalls(unknown_calls, spent)
    if exceeds:
        with pytest.raises(CostLimitReached):
            policy.check_call(params, earlier, missing, price_of)
    else:
        policy.check_call(params, earlier, missing, price_of)


def test_a_limit_stops_no_call_that_has_no_price() -> None:
    """As in mock mode."""
    ChargePolicy("retry").check_call(
        params_of(max_cost=0), EarlierCalls(), missing=3, price_of=unknown_price
    )
