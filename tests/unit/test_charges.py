"""Whether a call that may have been billed is followed by another."""

from typing import Any

import pytest

from shared.generation.charges import ChargePolicy
from shared.imaging.provider import ChargeState


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
