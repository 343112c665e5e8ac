"""Calls of the FLUX API: each image is bought by name, and asked for until it is ready.

Imported where `flux.PROVIDER` is built, and nowhere else. All images of a job are bought first, so
that they are made at once; those that an earlier attempt has bought are only asked for.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from shared.deadline import Deadline
from shared.errors import AttemptError
from shared.imaging.provider import (
    ChargeState,
    ProviderAnswer,
    ProviderCall,
    Purchase,
    Receipt,
)
from shared.imaging.providers import error_rules
from shared.imaging.providers.answers import SentPicture
from shared.imaging.providers.declaration import PriceOf
from shared.imaging.providers.fetching import ImageFetcher
from shared.imaging.providers.flux import ENDS, FAILED, PROVIDER, FluxSettings
from shared.imaging.providers.flux_api import FluxApi, Report
from shared.imaging.providers.image_intake import ImageIntake
from shared.imaging.providers.sent_pictures import IMAGE_MAX_BYTES

GROWTH = 1.5
POLL_MAX_SECONDS = 5.0
UNKNOWN_SECONDS = 15.0
"""How long a name that the API has just given may be unknown to it."""

_STEPS = 3
"""Of one image: bought, ready, kept."""

log = structlog.get_logger(__name__)


class FluxProvider:
    """Makes images by calling an API; implements `shared.imaging.provider.LaterProvider`."""

    def __init__(self, settings: FluxSettings) -> None:
        self._settings = settings
        self._api = FluxApi(settings)
        self._fetcher = ImageFetcher(settings.flux_base_url, IMAGE_MAX_BYTES)

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Make the images of `call.positions`; see `ImageProvider.generate`."""
        price_of = PROVIDER.offer(self._settings, call.model).price_of
        intake = ImageIntake(call, PROVIDER.name, price_of, self._fetcher)
        making = _Making(call, self._api, intake, price_of)
        making.buy()
        making.wait(self._settings.flux_poll_seconds, self._settings.flux_timeout_seconds)
        return making.answer()

    def find_bill(
        self, purchase: Purchase, model: str, deadline: Deadline
    ) -> tuple[ChargeState, int | None] | None:
        """Return what a purchase has cost; see `LaterProvider.find_bill`."""
        report = self._api.ask(purchase, deadline)
        # Results are forgotten after a while, whatever they have cost.
        if report.is_pending or report.is_unknown:
            return None
        return report.charge_state, report.price_microdollars or purchase.price_microdollars


@dataclass(slots=True)
class _Making:
    """The images of one call.

    Attributes:
        waiting: What was bought, here or before, and is not there yet.
        bills: What is known of the purchases of this call; None as long as it is nothing.
        failures: Why images did not come.
    """

    call: ProviderCall
    api: FluxApi
    intake: ImageIntake
    price_of: PriceOf
    waiting: list[Purchase] = field(default_factory=list)
    bills: dict[UUID, tuple[ChargeState, int | None] | None] = field(default_factory=dict)
    failures: list[AttemptError] = field(default_factory=list)
    request_id: str | None = None
    done: float = 0.0

    def buy(self) -> None:
        """Buy the images that no earlier attempt has bought, up to the first error."""
        self.call.deadline.check()
        self.waiting.extend(self.call.purchases.open)
        bought = {purchase.position for purchase in self.waiting}
        for position in self.call.positions:
            if position not in bought and not self._buy_one(position):
                break
            self._step(1)

    def _buy_one(self, position: int) -> bool:
        purchase = self.call.purchases.begin(position)
        self._bill(purchase, None)
        try:
            named = self.api.buy(self.call, purchase)
        except AttemptError as error:
            if error.charge_state is None:
                raise
            if error.charge_state == ChargeState.NONE.value:
                self.call.purchases.settle(purchase, ChargeState.NONE)
                self._bill(purchase, (ChargeState.NONE, None))
            self.failures.append(error)
            return False
        if named.price_microdollars is None:
            named = replace(named, price_microdollars=self.price_of(self.call.params.size, 1))
        self.call.purchases.name(named)
        self.request_id = named.request_id
        self._bill(named, None)
        self.waiting.append(named)
        return True

    def wait(self, poll_seconds: float, silence_seconds: float) -> None:
        """Ask for what was bought until all of it has come, or cannot come."""
        began = answered = time.monotonic()
        while self.waiting:
            for purchase in tuple(self.waiting):
                is_new = time.monotonic() - began < UNKNOWN_SECONDS
                report = self._ask(purchase, is_late=time.monotonic() - answered >= silence_seconds)
                if report is None:
                    continue
                answered = time.monotonic()
                if not report.is_pending and not (report.is_unknown and is_new):
                    self.waiting.remove(purchase)
                    self._finish(purchase, report)
            if self.waiting:
                time.sleep(self.call.deadline.timeout(poll_seconds))
                poll_seconds = min(poll_seconds * GROWTH, max(poll_seconds, POLL_MAX_SECONDS))
                self._step(0.05)

    def _ask(self, purchase: Purchase, *, is_late: bool) -> Report | None:
        """Ask for an image; None if the API cannot say. Asking again costs nothing."""
        try:
            return self.api.ask(purchase, self.call.deadline)
        except AttemptError as error:
            if error.charge_state is None:
                raise
            if is_late or not error.retryable:
                error.charge_state = self.charge_state.value
                raise
            log.warning("image asked for in vain", code=error.code, reason=str(error))
            return None

    def _finish(self, purchase: Purchase, report: Report) -> None:
        price = report.price_microdollars
        if price is None:
            price = purchase.price_microdollars
        if report.sample is None:
            self.failures.append(_error_of(report))
            # What an earlier attempt has bought may be forgotten, and billed all the same.
            if purchase.id in self.bills or not report.is_unknown:
                self._settle(purchase, report.charge_state, price)
            return
        stays_open = False
        self._step(1)
        if purchase.position in self.call.positions:
            try:
                self.intake.receive(purchase.position, SentPicture(address=report.sample))
            except AttemptError as error:
                if error.charge_state is None:
                    raise  # It is to be asked for again.
                # The address may answer the next attempt: the image is paid for.
                stays_open = error.retryable
                self.failures.append(error)
        self._settle(purchase, ChargeState.CHARGED, price, stays_open=stays_open)
        self._step(1)

    def _settle(
        self,
        purchase: Purchase,
        charge_state: ChargeState,
        price: int | None,
        *,
        stays_open: bool = False,
    ) -> None:
        self.call.purchases.settle(purchase, charge_state, price, stays_open=stays_open)
        # The others are billed to the attempts that bought them.
        if purchase.id in self.bills:
            self._bill(purchase, (charge_state, price))

    def _bill(self, purchase: Purchase, bill: tuple[ChargeState, int | None] | None) -> None:
        """Note what is known of a purchase of this call."""
        self.bills[purchase.id] = bill
        self.call.bill(self.charge_state, self._receipt())

    @property
    def charge_state(self) -> ChargeState:
        """What is known of the bill of this call."""
        if None in self.bills.values():
            return ChargeState.UNKNOWN
        charged = [bill for bill in self.bills.values() if bill and bill[0] is ChargeState.CHARGED]
        return ChargeState.CHARGED if charged else ChargeState.NONE

    def _receipt(self) -> Receipt:
        charged = [bill for bill in self.bills.values() if bill and bill[0] is ChargeState.CHARGED]
        prices = [price for _, price in charged if price is not None]
        units: Mapping[str, int] = {"images": len(charged)} if charged else {}
        price = sum(prices) if charged and len(prices) == len(charged) else None
        return Receipt(PROVIDER.name, self.call.model, self.request_id, units, price)

    def _step(self, share: float) -> None:
        """Report progress; of the waits, which may be many, less and less."""
        whole = _STEPS * len(self.call.positions)
        left = whole - self.done
        self.done += min(share, left / 2)
        self.call.step(min(1.0, self.done / whole))

    def answer(self) -> ProviderAnswer:
        """Return what came, or raise why nothing did."""
        last = next((error for error in self.failures if not error.retryable), None)
        images = self.intake.images
        if images and last is None:
            is_billed = self.charge_state is not ChargeState.NONE
            receipt = self._receipt() if is_billed else None
            return ProviderAnswer(images, self.charge_state, receipt)
        error = last or next(iter(self.failures), None) or error_rules.EMPTY.error("No image came")
        error.charge_state = self.charge_state.value
        raise error


def _error_of(report: Report) -> AttemptError:
    rule = next((rule for rule in ENDS if report.status in rule.words), FAILED)
    return rule.error(
        f"The provider answered: {report.sentence}",
        provider_code=report.status,
        charge_state=report.charge_state.value,
    )
