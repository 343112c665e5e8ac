"""How attempts end: completed, failed, to be tried again, released, or left to the sweep.

Called by `shared.generation.handler`. The row is written first, then the event is published.
"""

from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

import structlog

from shared.errors import (
    ChargeUnknown,
    CostLimitReached,
    DarkroomError,
    JobCancelled,
    LeaseLost,
    ServiceUnavailable,
    SoftTimeLimitReached,
    error_record,
    one_line,
)
from shared.generation.announce import Announcer
from shared.generation.attempt import RunningAttempt
from shared.generation.charges import ChargePolicy
from shared.generation.outages import repeat_to_settle
from shared.generation.outcome import Completed, Failed, NothingToDo, Outcome, RetryAfter
from shared.imaging.store import StoredImage
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.model import LedgerFacts
from shared.jobs.retry import RetryPolicy
from shared.status import failed, waiting

_ENDS_OF_MONEY = (ChargeUnknown, CostLimitReached)
"""After these a job is completed with the images that it has."""

log = structlog.get_logger(__name__)


class AttemptEnding:
    """Writes the ends of attempts, each in one transaction, then announces them."""

    def __init__(
        self,
        attempts: AttemptStore,
        announcer: Announcer,
        policy: RetryPolicy,
        charges: ChargePolicy,
    ) -> None:
        self._attempts = attempts
        self._announcer = announcer
        self._policy = policy
        self._charges = charges

    def complete(self, attempt: RunningAttempt, error: DarkroomError | None = None) -> Outcome:
        """Record the images that are saved; `error` says why others are missing.

        Raises:
            LeaseLost: Another attempt has taken the job over; the saved bytes stay unused.
            SoftTimeLimitReached: PostgreSQL stayed unavailable up to the soft limit.
        """
        claim = attempt.claim
        missing = attempt.params.n - len(attempt.saved)
        rows = [_image_row(image, uuid4()) for _, image in sorted(attempt.saved.items())]
        result = _result_of(rows, missing)
        facts = _facts_of(attempt)
        record = None if error is None else error_record(error, claim.attempt)
        ending = attempt.repeat(lambda: self._attempts.complete(claim, rows, result, facts, record))
        self._announcer.announce(ending, attempt.events)
        return Completed(missing)

    def settle(self, attempt: RunningAttempt, error: DarkroomError) -> Outcome:
        """Record an error: another attempt, the images that there are, or the end."""
        attempt.note_error(error)
        log.warning("attempt failed", code=error.code, reason=one_line(str(error)))
        try:
            if error.retryable and not attempt.claim.is_last:
                if self._charges.allows_another(attempt.params, attempt.charge_state):
                    return self._retry(attempt, error)
                error = ChargeUnknown(
                    f"{error}; not tried again, as the call may have been billed ({error.code})",
                    provider_code=getattr(error, "provider_code", None),
                )
            if attempt.saved and (error.retryable or isinstance(error, _ENDS_OF_MONEY)):
                return self.complete(attempt, error)
            return self._fail(attempt, error)
        except SoftTimeLimitReached as limit:
            return self.settle(attempt, limit)
        except LeaseLost as lost:
            log.warning("attempt overtaken", reason=str(lost))
            return NothingToDo("lease_lost")
        except ServiceUnavailable as unavailable:
            log.error(  # noqa: TRY400 - a server is unavailable, the code is right
                "ending left to the sweep", reason=str(unavailable)
            )
            return NothingToDo("left_to_sweep")

    def release(self, attempt: RunningAttempt) -> Outcome:
        """Hand back a job whose provider was not called: this attempt does not count."""
        claim = attempt.claim
        if not self._attempts.release(claim, waiting(claim.attempt, claim.max_attempts)):
            return NothingToDo("lease_lost")
        attempt.events.publish_released()
        return RetryAfter(0)

    def hand_back(self, attempt: RunningAttempt) -> None:
        """Let go of the job in a process that is being ended, as quickly as possible.

        Past the deadline the process is being killed at its time limit, and the job is ended by
        the killer or the sweep.
        """
        try:
            if not attempt.is_sent:
                self.release(attempt)
            elif attempt.deadline.remaining_seconds() > 0:
                self._attempts.give_up(attempt.claim)
                log.warning("attempt given up")
        except ServiceUnavailable as error:
            log.warning("lease left to run out", reason=str(error))

    def _retry(self, attempt: RunningAttempt, error: DarkroomError) -> Outcome:
        claim = attempt.claim
        delay_seconds = self._policy.delay_seconds(
            claim.attempt, getattr(error, "retry_after_seconds", None)
        )
        step = waiting(claim.attempt + 1, claim.max_attempts)
        record = error_record(error, claim.attempt)
        facts = _facts_of(attempt)
        try:
            repeat_to_settle(
                lambda: self._attempts.retry(claim, step, record, facts, delay_seconds),
                attempt.lease,
                attempt.deadline,
            )
        except LeaseLost:
            # Refused because the job was cancelled meanwhile, or was taken over. The fence
            # knows: it lets only the owner fail the job.
            return self._fail(attempt, JobCancelled())
        attempt.events.publish_waiting(claim.attempt + 1)
        return RetryAfter(delay_seconds)

    def _fail(self, attempt: RunningAttempt, error: DarkroomError) -> Outcome:
        claim = attempt.claim
        step = failed(attempt.lease.step.progress, one_line(str(error)))
        record = error_record(error, claim.attempt)
        facts = _facts_of(attempt)
        ending = repeat_to_settle(
            lambda: self._attempts.fail(claim, step, record, facts), attempt.lease, attempt.deadline
        )
        self._announcer.announce(ending, attempt.events)
        return Failed(error.code)


def _facts_of(attempt: RunningAttempt) -> LedgerFacts:
    receipt = attempt.receipt
    if receipt is None:
        return LedgerFacts(attempt.charge_state.value, attempt.request_id)
    return LedgerFacts(
        attempt.charge_state.value,
        receipt.request_id or attempt.request_id,
        receipt.units,
        receipt.price_microdollars,
    )


def _result_of(rows: list[dict[str, Any]], missing: int) -> dict[str, Any]:
    """Return the `result` of a job: its images as clients see them, and how many are missing."""
    shown = ("id", "position", "url", "media_type", "width_px", "height_px")
    return {"images": [{name: row[name] for name in shown} for row in rows], "missing": missing}


def _image_row(image: StoredImage, image_id: UUID) -> dict[str, Any]:
    return {"id": str(image_id), "url": f"/v1/images/{image_id}", **asdict(image)}
