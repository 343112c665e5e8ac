"""Purchases of providers that make images later: in the ledger, before and after each step.

A killed or retried attempt leaves them there. The next one asks for what was bought instead of
buying it again, and bills that were not known at the end of a job are asked for afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import cast
from uuid import uuid4

import structlog

from shared.deadline import Deadline, shielded
from shared.errors import DarkroomError, one_line
from shared.generation.attempt import RunningAttempt
from shared.imaging.provider import ChargeState, ImageProvider, LaterProvider, Purchase
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.model import BoughtImage

ASK_SECONDS = 5.0
"""After each attempt, for all bills that are open."""

ASK_AGAIN_SECONDS = 5.0
BILLS_AT_ONCE = 5

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class AttemptPurchases:
    """The purchases of one attempt, and those that it takes over; a `PurchaseLedger`."""

    attempt: RunningAttempt
    attempts: AttemptStore
    bought: Sequence[BoughtImage]
    open: Sequence[Purchase] = field(init=False)

    def __post_init__(self) -> None:
        self.open = [Purchase(**asdict(each)) for each in self.bought]
        self.attempt.unnamed = set()

    def begin(self, position: int) -> Purchase:
        """Note that an image is about to be bought; see `PurchaseLedger`."""
        purchase, claim = Purchase(uuid4(), position), self.attempt.claim
        with shielded():
            note = self.attempts.note_purchase
            self.attempt.repeat(lambda: note(claim, purchase.id, position))
            self._unnamed.add(purchase.id)
            self.attempt.bought.add(purchase.id)
        return purchase

    def name(self, purchase: Purchase) -> None:
        """Note what the provider calls it; see `PurchaseLedger`."""
        job_id, bought = self.attempt.claim.job_id, BoughtImage(**asdict(purchase))
        with shielded():
            self.attempt.repeat(lambda: self.attempts.name_purchase(job_id, bought))
            self._unnamed.discard(purchase.id)

    def settle(
        self,
        purchase: Purchase,
        charge_state: ChargeState,
        price_microdollars: int | None = None,
        *,
        stays_open: bool = False,
    ) -> None:
        """Note what it has cost; see `PurchaseLedger`."""
        job_id = self.attempt.claim.job_id

        def write() -> None:
            self.attempts.settle_purchase(
                job_id,
                purchase.id,
                charge_state.value,
                price_microdollars,
                stays_open=stays_open,
            )

        with shielded():
            self.attempt.repeat(write)
            self._unnamed.discard(purchase.id)
            if charge_state is ChargeState.NONE:
                self.attempt.bought.discard(purchase.id)

    @property
    def _unnamed(self) -> set[object]:
        return cast("set[object]", self.attempt.unnamed)


@dataclass(frozen=True, slots=True)
class OpenBills:
    """Asks for bills that were not known when their jobs ended: cancelled, stopped or lost ones.

    Called after each attempt, in its process, as only workers have the provider's key.
    """

    attempts: AttemptStore
    providers: Mapping[str, ImageProvider]

    def ask(self, deadline: Deadline) -> None:
        """Ask for some bills, for some seconds at most; what stays open is left to later calls."""
        if deadline.remaining_seconds() < ASK_SECONDS:
            return
        until = Deadline(ASK_SECONDS)
        try:
            for bill in self.attempts.take_bills(ASK_AGAIN_SECONDS, BILLS_AT_ONCE):
                purchase = Purchase(**asdict(bill.bought))
                provider = cast("LaterProvider", self.providers[bill.provider])
                found = provider.find_bill(purchase, bill.model, until)
                if found is not None:
                    state, price = found
                    self.attempts.settle_purchase(bill.job_id, purchase.id, state.value, price)
                    log.info("bill found", job_id=str(bill.job_id), charge_state=state.value)
        except Exception as error:  # The attempt before has ended, whatever is wrong here.
            is_known = isinstance(error, DarkroomError)
            reason = one_line(f"{type(error).__name__}: {error}")
            log.warning("bills not found", reason=reason, exc_info=not is_known)
