"""The port of the providers: what makes images, and what it promises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol
from uuid import UUID

from shared.deadline import Deadline


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
        units: What was billed, by name: `images`, `input_tokens`, `output_tokens`.
        price_microdollars: By the price table of the settings; None where that has no entry.
    """

    provider: str
    model: str
    request_id: str | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    price_microdollars: int | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """The picture of a product that the images shall show, as a file."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """One finished picture with its bytes.

    Attributes:
        position: Which of the job's n images this is, from 0.
        data: The encoded file, as `media_type` says.
        seed: The seed that this very picture was made from.
    """

    position: int
    data: bytes
    media_type: str
    width_px: int
    height_px: int
    seed: int
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture in the making: what the one at `position` looks like so far.

    Attributes:
        data: The encoded file, as `media_type` says; whole, and perhaps of another size than the
            picture will have.
    """

    position: int
    data: bytes
    media_type: str
    width_px: int
    height_px: int


def _ignore(*_facts: object) -> None:
    """Do nothing with what nobody asked for."""


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call: what to make, and how to report on it.

    Attributes:
        positions: The images to make, by position; fewer than n when others are already saved.
        attempt: The attempt this call belongs to, from 1.
        step: To be called as the picture grows, with the share done, 0.0 to 1.0 and never
            falling. Raises when the attempt must stop (cancelled, lease lost, deadline); the
            provider lets that pass.
        deadline: Bounds every blocking call of the provider.
        reference: What the images shall show; None if the prompt alone says it.
        bill: To be told as soon as it is known whether the call was billed, and what for.
        keep: To be given each picture as soon as its bytes are whole: it is kept before anything
            else happens, and never asked for again.
        preview: To be given each picture in the making, before the step that it is. Raises when
            the attempt must stop.
    """

    job_id: UUID
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
    bill: Callable[[ChargeState, Receipt], None] = _ignore
    keep: Callable[[GeneratedImage], None] = _ignore
    preview: Callable[[Preview], None] = _ignore


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What came back: possibly fewer images than asked, never none without an error."""

    images: tuple[GeneratedImage, ...]
    charge_state: ChargeState
    receipt: Receipt | None = None


class ImageProvider(Protocol):
    """Makes images.

    Contract: blocks until done; calls `step` between its steps and never after it returns;
    makes no retries of its own; raises only errors of `shared.errors` for faults it knows, with
    `charge_state` set; keeps nothing between calls that a killed process would lose.
    """

    name: str
    model: str

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Make the images of `call.positions`.

        Raises:
            AttemptError: No image came; the class says whether another attempt may help.
        """
        ...
