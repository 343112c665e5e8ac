"""The port of the providers: what makes images, and what it promises."""

from collections.abc import Callable
from dataclasses import dataclass
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
class ProviderCall:
    """One call: what to make, and how to report on it.

    Attributes:
        positions: The images to make, by position; fewer than n when others are already saved.
        attempt: The attempt this call belongs to, from 1.
        step: To be called as the picture grows, with the share done, 0.0 to 1.0 and never
            falling. Raises when the attempt must stop (cancelled, lease lost, deadline); the
            provider lets that pass.
        deadline: Bounds every blocking call of the provider.
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


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What came back: possibly fewer images than asked, never none without an error."""

    images: tuple[GeneratedImage, ...]
    charge_state: ChargeState


class ImageProvider(Protocol):
    """Makes images.

    Contract: blocks until done; calls `step` between its steps and never after it returns;
    makes no retries of its own; raises only errors of `shared.errors` for faults it knows, with
    `charge_state` set; keeps nothing between calls that a killed process would lose.
    """

    name: str

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Make the images of `call.positions`.

        Raises:
            AttemptError: No image came; the class says whether another attempt may help.
        """
        ...
