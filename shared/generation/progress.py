"""From the provider's steps to events, with the checks that every step makes."""

from shared.deadline import Deadline, shielded
from shared.errors import JobCancelled, LeaseLost
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import AppendResult
from shared.generation.lease import HeldLease
from shared.status import Step, rendering


class AttemptProgress:
    """Tells the steps of one attempt and stops it when it must not go on."""

    def __init__(self, events: AttemptEvents, lease: HeldLease, deadline: Deadline) -> None:
        self._events = events
        self._lease = lease
        self._deadline = deadline

    @property
    def last_progress(self) -> int:
        """The progress that was told last."""
        return self._lease.step.progress

    def tell(self, step: Step) -> None:
        """Publish a step.

        Raises:
            JobCancelled: Somebody asked for the end.
            LeaseLost: The job belongs to somebody else.
        """
        self.heed(self.show(step))

    def show(self, step: Step) -> AppendResult:
        """Publish a step whose answer is heeded later."""
        self._lease.step = step
        return self._events.publish(step)

    def heed(self, result: AppendResult) -> None:
        """Stop the attempt if it must not go on; raises as `tell` does."""
        self._lease.check()
        if result.cancel_requested:
            raise JobCancelled
        if result.outcome in ("fenced", "ended"):
            claim = self._lease.claim
            raise LeaseLost(f"attempt {claim.attempt} of job {claim.job_id} was overtaken")

    def tell_rendering(self, progress: int) -> None:
        """Publish a step of the provider, called from inside its call.

        Raises:
            SoftTimeLimitReached: The deadline has passed.
            JobCancelled: Somebody asked for the end.
            LeaseLost: The job belongs to somebody else.
        """
        self._deadline.check()
        with shielded():
            self.tell(rendering(progress))
