"""Running one job: the same steps in every runtime.

A runtime hands over the job id of an envelope and a deadline, and obeys the outcome. It is
called by the Celery task and by the Lambda handler, in the main thread of a process.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from shared.deadline import Deadline, interruptible, shielded
from shared.errors import (
    DarkroomError,
    ImagesMissing,
    LeaseLost,
    MalformedEnvelope,
    ProviderUnavailable,
    SoftTimeLimitReached,
    UnexpectedError,
)
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import EventPublisher
from shared.generation.attempt import RunningAttempt
from shared.generation.attempt_previews import AttemptPreviews, PreviewKeeper
from shared.generation.charges import ChargePolicy
from shared.generation.ending import AttemptEnding
from shared.generation.lease import LeaseKeeper
from shared.generation.outcome import NothingToDo, Outcome, RetryAfter
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState
from shared.imaging.service import ImageService
from shared.imaging.store import ImageStore
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.model import Claim, ClaimRefused, EarlierCalls
from shared.status import PREPARING, SAVING, STARTING

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RuntimeTraits:
    """What the handler must know of the runtime that it runs in.

    Attributes:
        soft_limit_errors: What the runtime's own soft limit raises in the main thread.
        is_stopping: Whether the worker is shutting down and should begin nothing new.
    """

    soft_limit_errors: tuple[type[BaseException], ...]
    is_stopping: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class GenerationHandler:
    """Runs jobs: claim, generate, save, record, announce."""

    attempts: AttemptStore
    publisher: EventPublisher
    keeper: LeaseKeeper
    previews: PreviewKeeper
    images: ImageService
    image_store: ImageStore
    charges: ChargePolicy
    ending: AttemptEnding
    traits: RuntimeTraits

    def handle(self, job_id: str, deadline: Deadline) -> Outcome:
        """Run one attempt of the job, if it is due and not owned by another worker.

        Raises:
            MalformedEnvelope: This is no job id.
            UnknownJob: There is no such job.
            ServiceUnavailable: PostgreSQL was unavailable at the claim; nothing has happened yet.
        """
        with shielded(), bound_contextvars(job_id=str(job_id)[:64]):
            claim = self.attempts.claim(_parse_job_id(job_id))
            if isinstance(claim, ClaimRefused):
                log.info("nothing to run", reason=claim.reason)
                is_early = claim.reason == "not_due"
                return RetryAfter(claim.due_in_seconds) if is_early else NothingToDo(claim.reason)
            with bound_contextvars(task_id=claim.task_id, attempt=claim.attempt):
                started_at = time.monotonic()
                log.info("attempt started", max_attempts=claim.max_attempts)
                outcome = self._run(claim, deadline)
                seconds = round(time.monotonic() - started_at, 3)
                log.info("attempt ended", outcome=outcome.name, seconds=seconds)
                return outcome

    def _run(self, claim: Claim, deadline: Deadline) -> Outcome:
        events = AttemptEvents(
            self.publisher,
            claim.task_id,
            token=claim.token,
            attempt=claim.attempt,
            max_attempts=claim.max_attempts,
        )
        with (
            self.previews.showing(claim, deadline) as previews,
            self.keeper.holding(claim) as lease,
        ):
            attempt = RunningAttempt(claim, deadline, lease, events, self.image_store)
            try:
                attempt.publish(STARTING)
                attempt.publish(PREPARING)
                attempt.params = ImageParams.from_row(claim.params, claim.job_id)
                if claim.attempt > 1:
                    self._find_saved(attempt)
                if self.traits.is_stopping():
                    return self.ending.release(attempt)
                if len(attempt.saved) < attempt.params.n:
                    self._generate(attempt, previews)
                else:
                    attempt.publish(SAVING)
                return self.ending.complete(attempt)
            except LeaseLost as error:
                log.warning("attempt overtaken", reason=str(error))
                return NothingToDo("lease_lost")
            except Exception as error:  # The attempt boundary: every error gets a row.
                return self.ending.settle(attempt, self._name_error(error, attempt))
            except BaseException:
                self.ending.hand_back(attempt)
                raise

    def _generate(self, attempt: RunningAttempt, previews: AttemptPreviews) -> None:
        claim, params, deadline = attempt.claim, attempt.params, attempt.deadline
        missing = tuple(n for n in range(params.n) if n not in attempt.saved)
        deadline.check()
        earlier = EarlierCalls()
        if claim.attempt > 1:
            earlier = attempt.repeat(lambda: self.attempts.earlier_calls(claim))
        self.charges.check_call(params, earlier, len(missing))
        reference = None
        if claim.source_asset_id is not None:
            reference = self._load_reference(attempt, claim.source_asset_id)
        # Servers may have been waited for: past the deadline there is no call, and so no bill.
        deadline.check()
        attempt.is_sent, attempt.charge_state = True, ChargeState.UNKNOWN
        with interruptible():
            answer = self.images.process_generation(
                claim.job_id,
                params,
                positions=missing,
                attempt=claim.attempt,
                reference=reference,
                deadline=deadline,
                on_progress=attempt.publish_rendering,
                on_bill=attempt.note_bill,
                on_image=attempt.keep,
                on_preview=previews.keep,
            )
        attempt.note_bill(answer.charge_state, answer.receipt)
        # What was paid for is kept first; only then may the attempt stop.
        result = attempt.show(SAVING)
        for image in answer.images:
            if image.position not in attempt.saved:
                attempt.keep(image)
        attempt.lease.check(result)
        if still_missing := params.n - len(attempt.saved):
            raise ImagesMissing(params.n, still_missing, charge_state=answer.charge_state.value)

    def _find_saved(self, attempt: RunningAttempt) -> None:
        for image in self.image_store.find_saved(attempt.claim.job_id):
            if image.position < attempt.params.n:
                attempt.saved[image.position] = image

    def _load_reference(self, attempt: RunningAttempt, asset_id: UUID) -> bytes | None:
        key = attempt.repeat(lambda: self.attempts.source_key(asset_id))
        return None if key is None else self.image_store.load(key)

    def _name_error(self, error: BaseException, attempt: RunningAttempt) -> DarkroomError:
        if isinstance(error, DarkroomError):
            return error
        if isinstance(error, self.traits.soft_limit_errors):
            return SoftTimeLimitReached(attempt.deadline.soft_limit_seconds)
        if isinstance(error, OSError):
            return ProviderUnavailable(f"Network error ({type(error).__name__})")
        log.exception("attempt broke", exc_info=error)
        return UnexpectedError(f"Internal error ({type(error).__name__})")


def _parse_job_id(job_id: str) -> UUID:
    try:
        return UUID(job_id)
    except (ValueError, TypeError, AttributeError):
        raise MalformedEnvelope(f"{str(job_id)[:64]!r} is not a job id") from None
