"""One running attempt: what it has reached, what its followers see, and when it must stop."""

from dataclasses import dataclass, field

from shared.deadline import Deadline, shielded
from shared.errors import AttemptError, DarkroomError, JobCancelled, LeaseLost
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import AppendResult
from shared.generation.lease import HeldLease
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState, Receipt
from shared.imaging.store import StoredImage
from shared.jobs.model import Claim
from shared.status import Step, rendering


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
        self.check(self.show(step))

    def show(self, step: Step) -> AppendResult:
        """Publish a step without stopping; `check` looks at the result later."""
        self.lease.step = step
        return self.events.publish(step)

    def check(self, result: AppendResult) -> None:
        """Stop the attempt if it must not go on; raises as `publish` does."""
        self.lease.check()
        if result.cancel_requested:
            raise JobCancelled
        if result.outcome in ("fenced", "ended"):
            claim = self.claim
            raise LeaseLost(f"attempt {claim.attempt} of job {claim.job_id} was overtaken")

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

    def missing_positions(self) -> tuple[int, ...]:
        """Return the positions whose bytes are not saved yet."""
        return tuple(n for n in range(self.params.n) if n not in self.saved)

    def note_sent(self) -> None:
        """Note that the provider is being called; from now on there may be a bill."""
        self.is_sent = True
        self.charge_state = ChargeState.UNKNOWN

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
