"""Whether something may be paid twice: what follows a call whose bill nobody knows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.imaging.provider import ChargeState

RETRY = "retry"
FAIL = "fail"


@dataclass(frozen=True, slots=True)
class ChargePolicy:
    """The setting ON_UNKNOWN_CHARGE, which a request may override.

    Attributes:
        on_unknown: `retry` accepts a second bill, and the ledger shows both; `fail` does not.
    """

    on_unknown: str

    def accepts_double(self, params: Mapping[str, Any]) -> bool:
        """Return whether a job may call again after a call that may have been billed."""
        wanted = params.get("on_unknown_charge")
        return (wanted if wanted in (RETRY, FAIL) else self.on_unknown) == RETRY

    def allows_another(self, params: Mapping[str, Any], charge_state: ChargeState) -> bool:
        """Return whether an attempt with this bill may be followed by another."""
        return charge_state is not ChargeState.UNKNOWN or self.accepts_double(params)
