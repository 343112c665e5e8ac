"""The port of the providers: what makes images, and what it promises.

`shared.imaging.providers` holds the providers, and its `registry` lists them;
`shared.imaging.service` calls them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Protocol
from uuid import UUID, uuid4

from shared.deadline import Deadline
from shared.imaging.params import SEED_LIMIT, ImageParams


class ChargeState(str, Enum):
    """What is known about the provider's bill for one attempt."""

    NONE = "none"
    CHARGED = "charged"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one call cost, as far as it is known: a line of the ledger.

    Attributes:
        request_id: The provider's own name for the call.
        units: What was billed, by the names that the provider declares.
        price_microdollars: By the price table of the settings; None where that has no entry.
    """

    provider: str
    model: str
    request_id: str | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    price_microdollars: int | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """An image that a provider was asked for and makes later: an entry of the ledger.

    Attributes:
        request_id: What the provider calls it; None until it has answered.
        address: Where it is asked for.
        price_microdollars: What it costs if it is made; None if the provider has not said so.
    """

    id: UUID
    position: int
    request_id: str | None = None
    address: str = ""
    price_microdollars: int | None = None


class PurchaseLedger(Protocol):
    """Keeps the purchases of a job, so that no image is bought twice.

    Each method returns once the entry is committed. It raises `LeaseLost` or
    `SoftTimeLimitReached` where that cannot be; let that pass.
    """

    @property
    def open(self) -> Sequence[Purchase]:
        """The purchases of earlier attempts that have a name and may still bring their image."""
        ...

    def begin(self, position: int) -> Purchase:
        """Note that an image is about to be bought; call it before the request is sent."""
        ...

    def name(self, purchase: Purchase) -> None:
        """Note what the provider calls it and where; call it the moment this is known."""
        ...

    def settle(
        self,
        purchase: Purchase,
        charge_state: ChargeState,
        price_microdollars: int | None = None,
        *,
        stays_open: bool = False,
    ) -> None:
        """Note what it has cost; call it once its image is kept, or known not to come.

        Args:
            purchase: Of this attempt or of an earlier one.
            charge_state: `none` or `charged`.
            price_microdollars: What was charged, where that is known.
            stays_open: The image is paid for, and the next attempt may still receive it.
        """
        ...


class UnkeptPurchases:
    """A ledger that forgets: of a call that no job stands behind."""

    open: Sequence[Purchase] = ()

    def begin(self, position: int) -> Purchase:
        """Return a new purchase."""
        return Purchase(uuid4(), position)

    def name(self, purchase: Purchase) -> None:
        """Forget it."""

    def settle(
        self,
        purchase: Purchase,
        charge_state: ChargeState,
        price_microdollars: int | None = None,
        *,
        stays_open: bool = False,
    ) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture that the images are based on, or its mask, as a file."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class PreviewImage:
    """A preview: what an image looks like so far. Its size may differ from the image's.

    Attributes:
        position: Which of the job's n images this is, from 0.
        data: The encoded file, whole, as `media_type` says.
    """

    position: int
    data: bytes
    media_type: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class GeneratedImage(PreviewImage):
    """A finished image: a preview that will not change, and the `seed` that it was made from."""

    seed: int
    provider: str
    model: str


def ignore(*_facts: object) -> None:
    """Do nothing; the default of optional callbacks."""


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call: what to make, and how to report on it.

    Attributes:
        model: One of those that the provider declares.
        params: What to show.
        positions: The images to make, by position; fewer than n when others are already saved.
        attempt: The attempt this call belongs to, from 1.
        step: Call it as the images grow, with the share done: 0.0 to 1.0, never falling. It
            raises when the attempt must stop (cancelled, lease lost, deadline); let that pass.
        deadline: Bounds every blocking call of the provider.
        idempotency_key: The same for the repetition of a call that may have been billed, so that a
            provider that knows it sends no second bill; empty means one of this attempt.
        references: What the images are based on, in order; none if the prompt alone describes them.
        mask: A PNG of the first one's size, which is to be changed where this is transparent.
        bill: Call it as soon as it is known whether the call was billed, and for what.
        keep: Call it with each image as soon as its bytes are whole. The image is saved before
            anything else happens, and is never asked for again.
        preview: Call it with each preview, before the step that it shows. It raises when the
            attempt must stop.
        purchases: For providers that declare `makes_later`.
    """

    job_id: UUID
    model: str
    params: ImageParams
    positions: tuple[int, ...]
    attempt: int
    step: Callable[[float], None]
    deadline: Deadline
    idempotency_key: str = ""
    references: tuple[Reference, ...] = ()
    mask: Reference | None = None
    bill: Callable[[ChargeState, Receipt], None] = ignore
    keep: Callable[[GeneratedImage], None] = ignore
    preview: Callable[[PreviewImage], None] = ignore
    purchases: PurchaseLedger = field(default_factory=UnkeptPurchases)

    @property
    def reference(self) -> Reference | None:
        """The first of the references, for a model that takes one."""
        return next(iter(self.references), None)

    @property
    def key(self) -> str:
        """What a provider may know this call by, and its repetition."""
        return self.idempotency_key or f"{self.job_id}-{self.attempt}"

    def seed_of(self, position: int) -> int:
        """Return the seed of the image at a position, itself a seed that a request may name."""
        return (self.params.seed + position) % SEED_LIMIT

    def finished(self, picture: PreviewImage, provider: str) -> GeneratedImage:
        """Return a picture as an image of this call that will not change."""
        seed = self.seed_of(picture.position)
        return GeneratedImage(**asdict(picture), seed=seed, provider=provider, model=self.model)


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What came back: perhaps fewer images than asked for; no image at all is an error."""

    images: tuple[GeneratedImage, ...]
    charge_state: ChargeState
    receipt: Receipt | None = None


class ImageProvider(Protocol):
    """Makes images.

    Contract: blocks until done; calls `step` between its steps and never after it returns;
    makes no retries of its own; raises only errors of `shared.errors` for faults it knows, with
    `charge_state` set; keeps nothing between calls that a killed process would lose.
    """

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Make the images of `call.positions`.

        Raises:
            AttemptError: No image came; the class says whether another attempt may help.
        """
        ...


class LaterProvider(ImageProvider, Protocol):
    """A provider that answers with a name, and makes the image later (`makes_later`)."""

    def find_bill(
        self, purchase: Purchase, model: str, deadline: Deadline
    ) -> tuple[ChargeState, int | None] | None:
        """Return what a purchase has cost, in micro-dollars; None if it is not known yet.

        Raises:
            AttemptError: The provider cannot be asked now.
        """
        ...
