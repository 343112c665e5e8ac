"""Whether something may be paid twice, or at all: what a call may follow on. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.imaging.params import DEFAULT_SIZE
from shared.imaging.provider import ChargeState
from shared.jobs.model import Claim, EarlierCalls

RETRY = "retry"
FAIL = "fail"

PriceOf = Callable[[str, int], int | None]
"""The price of so many images of a size, in micro-dollars; None where nobody knows it."""


def _unpriced(_size: str, _images: int) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class ChargePolicy:
    """The setting ON_UNKNOWN_CHARGE, which a request may override, and the request's own limit.

    Attributes:
        on_unknown: `retry` accepts a second bill, and the ledger shows both; `fail` does not.
        price_of: Of the model that is called.
    """

    on_unknown: str
    price_of: PriceOf = _unpriced

    def accepts_double(self, params: Mapping[str, Any]) -> bool:
        """Return whether a job may call again after a call that may have been billed."""
        wanted = params.get("on_unknown_charge")
        return (wanted if wanted in (RETRY, FAIL) else self.on_unknown) == RETRY

    def allows_another(self, params: Mapping[str, Any], charge_state: ChargeState) -> bool:
        """Return whether an attempt with this bill may be followed by another."""
        return charge_state is not ChargeState.UNKNOWN or self.accepts_double(params)

    def exceeds_limit(self, claim: Claim, earlier: EarlierCalls, wanted: int, missing: int) -> bool:
        """Return whether a call for the missing images may cost more than `max_cost` allows.

        A call whose bill nobody knows counts as one for all images that the job wants.
        """
        most = claim.params.get("max_cost")
        size = str(claim.params.get("size") or DEFAULT_SIZE)
        whole, rest = self.price_of(size, wanted), self.price_of(size, missing)
        if not isinstance(most, int) or isinstance(most, bool) or whole is None or rest is None:
            return False
        return earlier.spent_microdollars + earlier.unknown * whole + rest > most
