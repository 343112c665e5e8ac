"""Whether another call may be paid for, after calls that may have been billed. Pure."""

from dataclasses import dataclass

from shared.errors import BudgetSpent, ChargeUnknown, CostLimitReached
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState
from shared.imaging.providers.declaration import PriceOf
from shared.jobs.model import EarlierCalls


@dataclass(frozen=True, slots=True)
class ChargePolicy:
    """The setting ON_UNKNOWN_CHARGE, which a request may override, and the request's own limit.

    Attributes:
        on_unknown: `retry` accepts a second bill, and the ledger shows both; `fail` does not.
        is_free: The provider never charges anything.
    """

    on_unknown: str
    is_free: bool = False

    @property
    def of_open_call(self) -> ChargeState:
        """What is known of a call that has begun."""
        return ChargeState.NONE if self.is_free else ChargeState.UNKNOWN

    def accepts_double(self, params: ImageParams) -> bool:
        """Return whether a job may call again after a call that may have been billed."""
        return (params.on_unknown_charge or self.on_unknown) == "retry"

    def allows_another(
        self, params: ImageParams, charge_state: ChargeState, *, can_ask: bool = False
    ) -> bool:
        """Return whether an attempt with this bill may be followed by another.

        Args:
            params: Of the job.
            charge_state: What is known of the bill.
            can_ask: The next attempt asks for what was bought, instead of buying it again.
        """
        is_known = can_ask or charge_state is not ChargeState.UNKNOWN
        return is_known or self.accepts_double(params)

    def check_call(
        self,
        params: ImageParams,
        earlier: EarlierCalls,
        missing: int,
        price_of: PriceOf,
        budget_left_microdollars: int | None = None,
    ) -> None:
        """Let an attempt call the provider for the missing images.

        An earlier call whose bill is not known counts as one for all images of the job.

        Args:
            params: Of the job.
            earlier: What the attempts before this one may have cost.
            missing: How many images are to be bought.
            price_of: Returns what images of the model cost.
            budget_left_microdollars: What the workspace may still spend; None: any sum.

        Raises:
            ChargeUnknown: An earlier call may have been billed, and that is not accepted.
            BudgetSpent: It may cost more than is left of the budget, or its price is not known.
            CostLimitReached: With the earlier calls it may cost more than the request allows.
        """
        if earlier.unknown and not self.accepts_double(params):
            raise ChargeUnknown("Not tried again: an earlier call may have been billed")
        left = budget_left_microdollars
        if missing and left is not None:
            price = price_of(params.size, missing)
            if price is None or price > left:
                raise BudgetSpent("The provider was not called: the workspace has used its budget")
        most = params.max_cost
        if most is None:
            return
        whole, rest = price_of(params.size, params.n), price_of(params.size, missing)
        if whole is None or rest is None:
            return
        if earlier.spent_microdollars + earlier.unknown * whole + rest > most:
            raise CostLimitReached("The provider was not called: it may cost more than max_cost")
