"""One running attempt: what it has reached, and what its followers see."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from shared.deadline import Deadline, shielded
from shared.errors import AttemptError, DarkroomError
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import AppendResult
from shared.generation.lease import HeldLease
from shared.generation.outages import repeat_to_soft_limit
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState, GeneratedImage, Receipt
from shared.imaging.store import ImageStore, StoredImage
from shared.jobs.model import Claim
from shared.status import Step, rendering

T = TypeVar("T")


@dataclass(slots=True)
class RunningAttempt:
    """The state of one attempt, from its claim to its end.

    Attributes:
        params: Parsed from the row, before anything that needs them.
        saved: Images whose bytes are kept, by position; some may be an earlier attempt's.
        is_sent: Whether the provider was called: from then on the attempt counts.
        charge_state: What is known so far of the provider's bill.
        receipt: What the call cost, as soon as the provider reports it.
    """

    claim: Claim
    deadline: Deadline
    lease: HeldLease
    events: AttemptEvents
    image_store: ImageStore
    params: ImageParams = field(init=False)
    saved: dict[int, StoredImage] = field(default_factory=dict)
    is_sent: bool = False
    charge_state: ChargeState = ChargeState.NONE
    receipt: Receipt | None = None
    request_id: str | None = None

    def publish(self, step: Step) -> None:
        """Publish a step.

        Raises:
            JobCancelled: The job is to be cancelled.
            LeaseLost: Another attempt has taken the job over.
        """
        self.lease.check(self.show(step))

    def show(self, step: Step) -> AppendResult:
        """Publish a step without stopping; the lease checks the result later."""
        self.lease.step = step
        return self.events.publish(step)

    def publish_rendering(self, progress: int) -> None:
        """Publish a step of the provider, called from inside its call.

        Raises:
            SoftTimeLimitReached: The deadline has passed.
            JobCancelled: The job is to be cancelled.
            LeaseLost: Another attempt has taken the job over.
        """
        self.deadline.check()
        with shielded():
            self.publish(rendering(progress))

    def note_bill(self, charge_state: ChargeState, receipt: Receipt | None) -> None:
        """Note what the provider has reported of the bill."""
        self.charge_state = charge_state
        self.receipt = receipt or self.receipt

    def note_error(self, error: DarkroomError) -> None:
        """Note what an error knows of the bill."""
        if not isinstance(error, AttemptError):
            return
        if error.charge_state is not None:
            self.charge_state = ChargeState(error.charge_state)
        self.request_id = error.request_id or self.request_id

    def keep(self, image: GeneratedImage) -> None:
        """Save an image before anything else happens; the provider is not asked for it again.

        Raises:
            LeaseLost: Another attempt has taken the job over.
            SoftTimeLimitReached: The image store stayed unavailable.
        """
        claim = self.claim
        save = partial(self.image_store.save, claim.job_id, claim.attempt, image)
        with shielded():
            self.saved[image.position] = self.repeat(save)

    def repeat(self, call: Callable[[], T]) -> T:
        """Repeat a call that the attempt needs; see `repeat_to_soft_limit`."""
        return repeat_to_soft_limit(call, self.lease, self.deadline)
