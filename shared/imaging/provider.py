"""The port of the providers: what makes images, and what it promises.

`shared.imaging.providers` holds the providers; `shared.imaging.service` calls them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol
from uuid import UUID

from shared.deadline import Deadline
from shared.imaging.params import SEED_LIMIT


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
class Reference:
    """The picture that the images are based on, as a file."""

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
        positions: The images to make, by position; fewer than n when others are already saved.
        attempt: The attempt this call belongs to, from 1.
        step: Call it as the images grow, with the share done: 0.0 to 1.0, never falling. It
            raises when the attempt must stop (cancelled, lease lost, deadline); let that pass.
        deadline: Bounds every blocking call of the provider.
        reference: What the images are based on; None if the prompt alone describes them.
        bill: Call it as soon as it is known whether the call was billed, and for what.
        keep: Call it with each image as soon as its bytes are whole. The image is saved before
            anything else happens, and is never asked for again.
        preview: Call it with each preview, before the step that it shows. It raises when the
            attempt must stop.
    """

    job_id: UUID
    model: str
    prompt: str
    style: str
    width_px: int
    height_px: int
    seed: int
    positions: tuple[int, ...]
    attempt: int
    step: Callable[[float], None]
    deadline: Deadline
    reference: Reference | None = None
    bill: Callable[[ChargeState, Receipt], None] = ignore
    keep: Callable[[GeneratedImage], None] = ignore
    preview: Callable[[PreviewImage], None] = ignore

    @property
    def size(self) -> str:
        """The size as requests name it."""
        return f"{self.width_px}x{self.height_px}"

    def seed_of(self, position: int) -> int:
        """Return the seed of the image at a position, itself a seed that a request may name."""
        return (self.seed + position) % SEED_LIMIT


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
