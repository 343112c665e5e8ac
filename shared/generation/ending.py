"""How attempts end: completed, failed, to be tried again, released, or left to the sweep.

Called by `shared.generation.handler`. The row is written first, then the event is published.
The sweep and a cancel end jobs, too: every end passes `shared.generation.announce`.
"""

import structlog

from shared import tracing
from shared.errors import (
    ChargeUnknown,
    DarkroomError,
    JobCancelled,
    LeaseLost,
    RateLimited,
    ServiceUnavailable,
    StorageUnavailable,
    error_record,
    one_line,
    public_line,
)
from shared.generation.announce import Announcer
from shared.generation.attempt import RunningAttempt
from shared.generation.charges import ChargePolicy
from shared.generation.outcome import Completed, Failed, NothingToDo, Outcome, RetryAfter
from shared.generation.saved_images import result_of, rows_of
from shared.imaging.models import Models, OfferedModel
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.model import REQUEST_ID_MAX_CHARS, LedgerFacts
from shared.jobs.retry import RETRY_AFTER_MAX_SECONDS, RetryPolicy
from shared.status import failed, waiting

log = structlog.get_logger(__name__)


class AttemptEnding:
    """Writes the ends of attempts, each in one transaction, then announces them."""

    def __init__(
        self,
        attempts: AttemptStore,
        announcer: Announcer,
        policy: RetryPolicy,
        charges: ChargePolicy,
        models: Models,
    ) -> None:
        self._attempts = attempts
        self._announcer = announcer
        self._policy = policy
        self._charges = charges
        self._models = models

    def complete(self, attempt: RunningAttempt, error: DarkroomError | None = None) -> Outcome:
        """Record the images that are saved; `error` says why the attempt ended before.

        Raises:
            LeaseLost: Another attempt has taken the job over; the saved bytes stay unused.
            SoftTimeLimitReached: PostgreSQL stayed unavailable up to the soft limit.
            ServiceUnavailable: It stayed unavailable after the attempt had ended.
        """
        claim = attempt.claim
        missing = attempt.params.n - len(attempt.saved)
        rows = rows_of(attempt.saved.values())
        result = result_of(rows, missing)
        facts = _facts_of(attempt)
        record = None if error is None else error_record(error, claim.attempt)
        repeat = attempt.repeat if error is None else attempt.repeat_to_settle
        ending = repeat(lambda: self._attempts.complete(claim, rows, result, facts, record))
        self._announcer.announce(ending, attempt.events)
        return Completed(missing)

    def settle(self, attempt: RunningAttempt, error: DarkroomError) -> Outcome:
        """Record an error: another attempt, the images that there are, or the end."""
        attempt.note_error(error)
        tracing.current().fail(error.code)
        log.warning("attempt failed", code=error.code, reason=one_line(str(error)))
        self._hold_provider(attempt, error)
        try:
            if model := self._next_model(attempt, error):
                return self._retry(attempt, error, model)
            if error.retryable and not attempt.claim.is_last and not attempt.is_whole:
                can_ask = attempt.unnamed == set()
                if self._charges.allows_another(
                    attempt.params, attempt.charge_state, can_ask=can_ask
                ):
                    return self._retry(attempt, error)
                error = ChargeUnknown(
                    f"{public_line(error)}; not tried again, as the call may have been billed "
                    f"({error.code})",
                    provider_code=getattr(error, "provider_code", None),
                )
            if attempt.saved:
                # They were paid for, whatever has happened since.
                return self.complete(attempt, error)
            return self._fail(attempt, error)
        except LeaseLost as lost:
            return self.leave(attempt, lost)
        except ServiceUnavailable as unavailable:
            log.error(  # noqa: TRY400 - a server is unavailable, the code is right
                "ending left to the sweep", reason=str(unavailable)
            )
            return NothingToDo("left_to_sweep")

    def leave(self, attempt: RunningAttempt, reason: LeaseLost) -> Outcome:
        """Leave the job to the attempt that owns it now; note the bill of this one.

        Images that were saved of a job that is deleted by now are deleted, too.
        """
        log.warning("attempt overtaken", reason=str(reason))
        try:
            exists = self._attempts.note_overtaken(attempt.claim, _facts_of(attempt))
            if attempt.saved and not exists:
                attempt.image_store.delete(attempt.claim.job_id)
        except (ServiceUnavailable, StorageUnavailable) as error:
            log.warning("left to the housekeeping", reason=str(error))
        return NothingToDo("lease_lost")

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

    def _hold_provider(self, attempt: RunningAttempt, error: DarkroomError) -> None:
        """Have the other jobs of a provider wait in their rows, if it asks to come back later."""
        provider, wait = attempt.claim.provider, getattr(error, "retry_after_seconds", None)
        if not (isinstance(error, RateLimited) and error.is_of_all_jobs and provider and wait):
            return
        seconds = min(wait, RETRY_AFTER_MAX_SECONDS)
        try:
            self._attempts.hold_provider(provider, seconds)
        except ServiceUnavailable as unavailable:
            log.warning("provider not held", reason=str(unavailable))
        else:
            log.warning("provider held", provider=provider, seconds=seconds)

    def _next_model(self, attempt: RunningAttempt, error: DarkroomError) -> OfferedModel | None:
        """Return the model that the next attempt asks instead, if the request names one.

        Only if the provider is to blame, or does not offer what was asked for, and the job has
        certainly cost nothing so far: what may be paid for is asked of the same provider again.
        """
        if not error.fails_over or attempt.claim.is_last or not attempt.is_free:
            return None
        names, name = attempt.params.models or [], attempt.claim.model
        following = names[names.index(name) + 1] if name in names[:-1] else None
        return self._models.get(following) if following in self._models.providers else None

    def _retry(
        self, attempt: RunningAttempt, error: DarkroomError, model: OfferedModel | None = None
    ) -> Outcome:
        """Have another attempt follow; one with another model starts at once."""
        claim = attempt.claim
        wait = getattr(error, "retry_after_seconds", None)
        delay_seconds = 0.0 if model else self._policy.delay_seconds(claim.attempt, wait)
        following = None if model is None else (model.provider, model.name)
        step = waiting(claim.attempt + 1, claim.max_attempts)
        record = error_record(error, claim.attempt)
        facts = _facts_of(attempt)
        try:
            attempt.repeat_to_settle(
                lambda: self._attempts.retry(claim, step, record, facts, delay_seconds, following)
            )
        except LeaseLost:
            # Refused because the job was cancelled meanwhile, or was taken over. The fence
            # knows: it lets only the owner fail the job.
            return self._fail(attempt, JobCancelled())
        attempt.events.publish_waiting(claim.attempt + 1)
        return RetryAfter(delay_seconds)

    def _fail(self, attempt: RunningAttempt, error: DarkroomError) -> Outcome:
        claim = attempt.claim
        step = failed(attempt.lease.step.progress, public_line(error))
        record = error_record(error, claim.attempt)
        facts = _facts_of(attempt)
        ending = attempt.repeat_to_settle(lambda: self._attempts.fail(claim, step, record, facts))
        self._announcer.announce(ending, attempt.events)
        return Failed(error.code, one_line(str(error)))


def _facts_of(attempt: RunningAttempt) -> LedgerFacts:
    receipt = attempt.receipt
    name = (receipt and receipt.request_id) or attempt.request_id
    request_id = None if name is None else one_line(name)[:REQUEST_ID_MAX_CHARS]
    if receipt is None:
        return LedgerFacts(attempt.charge_state.value, request_id)
    return LedgerFacts(
        attempt.charge_state.value,
        request_id,
        receipt.units or None,
        receipt.price_microdollars,
    )
