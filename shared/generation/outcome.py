"""What the handler returns to its runtime, which obeys it.

What happens when a job ends stands in `shared.generation.announce`.
"""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Completed:
    """The job has its images, all but `missing`; acknowledge the envelope."""

    name: ClassVar[str] = "completed"
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The job has ended without images; acknowledge the envelope."""

    name: ClassVar[str] = "failed"
    code: str
    message: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The job waits in its row, for so many seconds at least; acknowledge the envelope."""

    name: ClassVar[str] = "retry"
    seconds: float


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """The job ended, runs elsewhere, or is left to the sweep; acknowledge the envelope.

    Attributes:
        reason: `ended`, `running`, `lease_lost`, `released`, or `left_to_sweep`.
    """

    name: ClassVar[str] = "nothing_to_do"
    reason: str


Outcome = Completed | Failed | RetryAfter | NothingToDo
