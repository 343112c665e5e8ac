"""One running attempt: what it has reached, and what its followers see."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from shared import tracing
from shared.deadline import Deadline, shielded
from shared.errors import (
    AttemptError,
    DarkroomError,
    InvalidRequest,
    LeaseLost,
    ServiceUnavailable,
    SoftTimeLimitReached,
    StorageUnavailable,
)
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import AppendResult
from shared.generation.lease import HeldLease
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState, GeneratedImage, Receipt
from shared.imaging.store import ImageStore, StoredImage
from shared.jobs.model import Claim
from shared.status import Step, rendering

SETTLE_SECONDS = 5.0
"""How long an ending is repeated after the deadline has passed."""

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

_OUTAGES = (ServiceUnavailable, StorageUnavailable)

log = structlog.get_logger(__name__)
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
        was_billed: Whether an earlier attempt was, or may have been, charged.
        bought: Purchases of this attempt that are not known to have cost nothing.
        unnamed: Purchases that the provider was asked for and has not named; None where it names
            none.
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
    was_billed: bool = False
    bought: set[UUID] = field(default_factory=set)
    unnamed: set[UUID] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all images of the job are saved."""
        return bool(self.saved) and len(self.saved) >= self.params.n

    @property
    def is_free(self) -> bool:
        """Whether the job has certainly cost nothing so far."""
        is_known = self.charge_state is ChargeState.NONE and not self.bought
        return is_known and not self.was_billed and not self.saved

    def publish(self, step: Step) -> AppendResult:
        """Publish a step.

        Raises:
            JobCancelled: The job is to be cancelled.
            LeaseLost: Another attempt has taken the job over.
        """
        result = self.show(step)
        self.lease.check(result)
        return result

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
        if isinstance(error, InvalidRequest):
            self.charge_state = ChargeState.NONE  # Refused here, before anything was sent.
        if not isinstance(error, AttemptError):
            return
        if error.charge_state is not None:
            self.charge_state = ChargeState(error.charge_state)
        self.request_id = error.request_id or self.request_id

    def keep(self, image: GeneratedImage) -> None:
        """Save an image before anything else happens; the provider is not asked for it again.

        Raises:
            LeaseLost: Another attempt has taken the job over.
            StorageUnavailable: The image store stayed unavailable up to the soft limit.
        """
        claim = self.claim
        save = partial(self.image_store.save, claim.job_id, claim.attempt, image)
        attributes = {
            "darkroom.image.position": image.position,
            "darkroom.image.size_bytes": len(image.data),
        }
        with shielded(), tracing.span("save image", attributes=attributes):
            self.saved[image.position] = self.repeat(save)

    def repeat(self, call: Callable[[], T]) -> T:
        """Repeat a call that the attempt cannot go on without, up to the soft limit.

        Raises:
            LeaseLost: Another attempt has taken the job over meanwhile.
            SoftTimeLimitReached: PostgreSQL stayed unavailable.
            StorageUnavailable: The image store stayed unavailable; another attempt may find it.
        """
        try:
            return self._repeat(call, self.deadline.seconds_to_soft_limit())
        except ServiceUnavailable as error:
            raise SoftTimeLimitReached(self.deadline.soft_limit_seconds) from error

    def repeat_to_settle(self, call: Callable[[], T]) -> T:
        """Repeat the write of an ending, up to the deadline and a little longer.

        Raises:
            LeaseLost: Another attempt has taken the job over meanwhile.
            ServiceUnavailable: PostgreSQL stayed unavailable.
        """
        return self._repeat(call, max(self.deadline.remaining_seconds(), SETTLE_SECONDS))

    def _repeat(self, call: Callable[[], T], at_most_seconds: float) -> T:
        give_up_at = time.monotonic() + at_most_seconds
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                return call()
            except _OUTAGES as error:
                if time.monotonic() + pause_seconds >= give_up_at:
                    raise
                log.warning("write repeated", reason=str(error))
            if isinstance(self.lease.stop_reason, LeaseLost):
                raise self.lease.stop_reason
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
