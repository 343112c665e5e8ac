"""How attempts end: completed, failed, to be tried again, released, or left to the sweep.

The second half of `shared.generation.handler`: whatever writes the row's next state, and tells
it after the commit.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from shared.errors import (
    ChargeUnknown,
    CostLimitReached,
    DarkroomError,
    JobCancelled,
    LeaseLost,
    ServiceUnavailable,
    SoftTimeLimitReached,
    StorageUnavailable,
    error_record,
    one_line,
)
from shared.generation.announce import Announcer
from shared.generation.attempt import RunningAttempt, image_rows, result_of
from shared.generation.charges import ChargePolicy
from shared.generation.outcome import Completed, Failed, NothingToDo, Outcome, RetryAfter
from shared.jobs.attempts import AttemptStore
from shared.jobs.model import ending_of
from shared.jobs.retry import RetryPolicy
from shared.status import COMPLETED, failed, waiting

SETTLE_SECONDS = 5.0
"""How long an ending is tried after the deadline has passed."""

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

_ENDS_OF_MONEY = (ChargeUnknown, CostLimitReached)
"""After these a job is completed with the pictures that it has."""

log = structlog.get_logger(__name__)
T = TypeVar("T")


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

    def check_charge(self, attempt: RunningAttempt) -> None:
        """Let an attempt call the provider, unless that may cost what nobody has agreed to.

        Raises:
            ChargeUnknown: An earlier call may have been billed, and that is not accepted.
            CostLimitReached: With the earlier calls it may cost more than the request allows.
            SoftTimeLimitReached: PostgreSQL did not tell of them before the soft limit.
            LeaseLost: The job was found to be somebody else's meanwhile.
        """
        claim = attempt.claim
        earlier = self.insist(attempt, lambda: self._attempts.earlier_calls(claim))
        if earlier.unknown and not self._charges.accepts_double(claim.params):
            raise ChargeUnknown("Not tried again: an earlier call may have been billed")
        missing = len(attempt.missing_positions())
        if self._charges.exceeds_limit(claim, earlier, attempt.wanted, missing):
            raise CostLimitReached("The provider was not called: it may cost more than max_cost")

    def complete(self, attempt: RunningAttempt, error: DarkroomError | None = None) -> Outcome:
        """Record the images that are saved; `error` says why others are missing.

        Raises:
            LeaseLost: The job belongs to somebody else; the saved bytes stay unused.
            SoftTimeLimitReached: PostgreSQL did not take the rows before the soft limit.
        """
        claim = attempt.claim
        missing = len(attempt.missing_positions())
        rows = image_rows(attempt.saved)
        result = result_of(rows, missing)
        record = None if error is None else error_record(error, claim.attempt)
        finished_at = self.insist(
            attempt,
            lambda: self._attempts.complete(claim, rows, result, attempt.ledger_facts(), record),
        )
        attempt.events.flush_before_end()
        self._announcer.announce(
            ending_of(
                claim.job_id, claim.task_id, claim.token, COMPLETED, finished_at, result=result
            )
        )
        return Completed(missing)

    def settle(self, attempt: RunningAttempt, error: DarkroomError) -> Outcome:
        """Record an error: another attempt, what images there are, or the end."""
        attempt.note_charge(error)
        log.warning("attempt failed", code=error.code, reason=one_line(str(error)))
        try:
            if error.retryable and not attempt.claim.is_last:
                if self._charges.allows_another(attempt.claim.params, attempt.charge_state):
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
            log.error(  # noqa: TRY400 - a server is away, the code is right
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

        Past the deadline the process is being killed at its time limit, and whoever kills it
        ends the job.
        """
        try:
            if not attempt.is_sent:
                self.release(attempt)
            elif attempt.deadline.remaining_seconds() > 0:
                self._attempts.give_up(attempt.claim)
                log.warning("attempt given up")
        except ServiceUnavailable as error:
            log.warning("lease left to run out", reason=str(error))

    def insist(self, attempt: RunningAttempt, write: Callable[[], T]) -> T:
        """Repeat an idempotent write while its server is away, up to the soft limit.

        Raises:
            LeaseLost: The job was found to be somebody else's meanwhile.
            SoftTimeLimitReached: PostgreSQL or the image store stayed away.
        """
        try:
            return self._repeat(attempt, write, attempt.deadline.seconds_to_soft_limit())
        except (ServiceUnavailable, StorageUnavailable) as error:
            raise SoftTimeLimitReached(attempt.deadline.soft_limit_seconds) from error

    def _insist_on_ending(self, attempt: RunningAttempt, write: Callable[[], T]) -> T:
        seconds = max(attempt.deadline.remaining_seconds(), SETTLE_SECONDS)
        return self._repeat(attempt, write, seconds)

    def _repeat(self, attempt: RunningAttempt, write: Callable[[], T], at_most_seconds: float) -> T:
        give_up_at = time.monotonic() + at_most_seconds
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                return write()
            except (ServiceUnavailable, StorageUnavailable) as error:
                if time.monotonic() + pause_seconds >= give_up_at:
                    raise
                log.warning("write repeated", reason=str(error))
            if isinstance(attempt.lease.stop_reason, LeaseLost):
                raise attempt.lease.stop_reason
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def _retry(self, attempt: RunningAttempt, error: DarkroomError) -> Outcome:
        claim = attempt.claim
        delay_seconds = self._policy.delay_seconds(
            claim.attempt, getattr(error, "retry_after_seconds", None)
        )
        step = waiting(claim.attempt + 1, claim.max_attempts)
        record = error_record(error, claim.attempt)
        facts = attempt.ledger_facts()
        try:
            self._insist_on_ending(
                attempt,
                lambda: self._attempts.retry(claim, step, record, facts, delay_seconds),
            )
        except LeaseLost:
            # Refused because the job was cancelled in the meantime, or is somebody else's: the
            # fence tells, as it lets only the owner fail it.
            return self._fail(attempt, JobCancelled())
        attempt.events.publish_waiting(claim.attempt + 1)
        return RetryAfter(delay_seconds)

    def _fail(self, attempt: RunningAttempt, error: DarkroomError) -> Outcome:
        claim = attempt.claim
        step = failed(attempt.progress.last_progress, one_line(str(error)))
        record = error_record(error, claim.attempt)
        facts = attempt.ledger_facts()
        finished_at = self._insist_on_ending(
            attempt, lambda: self._attempts.fail(claim, step, record, facts)
        )
        attempt.events.flush_before_end()
        self._announcer.announce(
            ending_of(claim.job_id, claim.task_id, claim.token, step, finished_at, error=record)
        )
        return Failed(error.code)
