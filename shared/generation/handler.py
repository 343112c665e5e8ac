"""Running one job: the same steps in every runtime.

A runtime hands over the job id of an envelope and a deadline, and obeys the outcome. It is
called by the Celery task and by the Lambda handler, in the main thread of a process.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
from shared.generation.ending import AttemptEnding
from shared.generation.lease import LeaseKeeper
from shared.generation.outcome import NothingToDo, Outcome, RetryAfter
from shared.generation.previews import AttemptPreviews
from shared.generation.progress import AttemptProgress
from shared.imaging.provider import GeneratedImage
from shared.imaging.service import ImageService
from shared.imaging.store import ImageStore
from shared.jobs.attempts import AttemptStore
from shared.jobs.model import Claim, ClaimRefused
from shared.jobs.previews import PreviewStore
from shared.status import PREPARING, SAVING, STARTING

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RuntimeTraits:
    """What the handler must know of the runtime that it runs in.

    Attributes:
        soft_limit_errors: What the runtime's own soft limit raises in the main thread.
        is_stopping: Whether the worker was told to stop and should begin nothing new.
    """

    soft_limit_errors: tuple[type[BaseException], ...]
    is_stopping: Callable[[], bool]


class GenerationHandler:
    """Runs jobs: claim, generate, save, record, announce."""

    def __init__(
        self,
        attempts: AttemptStore,
        publisher: EventPublisher,
        keeper: LeaseKeeper,
        images: ImageService,
        image_store: ImageStore,
        previews: PreviewStore,
        ending: AttemptEnding,
        traits: RuntimeTraits,
    ) -> None:
        self._attempts = attempts
        self._publisher = publisher
        self._keeper = keeper
        self._images = images
        self._image_store = image_store
        self._previews = previews
        self._ending = ending
        self._traits = traits

    def handle(self, job_id: str, deadline: Deadline) -> Outcome:
        """Run one attempt of the job, if it is due and nobody else has it.

        Raises:
            MalformedEnvelope: This is no job id.
            UnknownJob: There is no such job.
            ServiceUnavailable: PostgreSQL was away at the claim; nothing has happened yet.
        """
        with shielded(), bound_contextvars(job_id=str(job_id)[:64]):
            claim = self._attempts.claim(_parse_job_id(job_id))
            if isinstance(claim, ClaimRefused):
                return _outcome_of_refusal(claim)
            with bound_contextvars(task_id=claim.task_id, attempt=claim.attempt):
                return self._run(claim, deadline)

    def _run(self, claim: Claim, deadline: Deadline) -> Outcome:
        started_at = time.monotonic()
        log.info("attempt started", max_attempts=claim.max_attempts)
        previews = AttemptPreviews(self._image_store, self._previews, claim, deadline)
        with self._keeper.holding(claim) as lease:
            events = AttemptEvents(
                self._publisher,
                claim.task_id,
                token=claim.token,
                attempt=claim.attempt,
                max_attempts=claim.max_attempts,
            )
            progress = AttemptProgress(events, lease, deadline)
            attempt = RunningAttempt(claim, deadline, lease, events, progress, previews)
            outcome = self._try(attempt)
        previews.forget()
        seconds = round(time.monotonic() - started_at, 3)
        log.info("attempt ended", outcome=outcome.name, seconds=seconds)
        return outcome

    def _try(self, attempt: RunningAttempt) -> Outcome:
        try:
            self._prepare(attempt)
            if self._traits.is_stopping():
                return self._ending.release(attempt)
            self._generate(attempt)
            return self._ending.complete(attempt)
        except LeaseLost as error:
            log.warning("attempt overtaken", reason=str(error))
            return NothingToDo("lease_lost")
        except Exception as error:  # The attempt boundary: every error gets a row.
            return self._ending.settle(attempt, self._name_error(error, attempt))
        except BaseException:
            self._ending.hand_back(attempt)
            raise

    def _prepare(self, attempt: RunningAttempt) -> None:
        attempt.progress.tell(STARTING)
        attempt.progress.tell(PREPARING)
        if attempt.claim.attempt > 1:
            for image in self._image_store.find_saved(attempt.claim.job_id):
                if image.position < attempt.wanted:
                    attempt.saved[image.position] = image

    def _generate(self, attempt: RunningAttempt) -> None:
        missing = attempt.missing_positions()
        if not missing:
            attempt.progress.tell(SAVING)
            return
        attempt.deadline.check()
        self._ending.check_charge(attempt)
        reference = self._load_reference(attempt)
        # Servers may have been waited for: past the deadline there is no call, and so no bill.
        attempt.deadline.check()
        attempt.note_sent()
        with interruptible():
            answer = self._images.process_generation(
                attempt.claim.job_id,
                attempt.claim.params,
                positions=missing,
                attempt=attempt.claim.attempt,
                reference=reference,
                deadline=attempt.deadline,
                on_progress=attempt.progress.tell_rendering,
                on_bill=attempt.note_bill,
                on_image=partial(self._keep, attempt),
                on_preview=attempt.previews.keep,
            )
        attempt.note_bill(answer.charge_state, answer.receipt)
        self._save(attempt, answer.images)
        still_missing = len(attempt.missing_positions())
        if still_missing:
            raise ImagesMissing(
                attempt.wanted, still_missing, charge_state=answer.charge_state.value
            )

    def _load_reference(self, attempt: RunningAttempt) -> bytes | None:
        claim = attempt.claim
        key = self._ending.insist(attempt, lambda: self._attempts.source_key(claim))
        return None if key is None else self._image_store.load(key)

    def _save(self, attempt: RunningAttempt, images: Sequence[GeneratedImage]) -> None:
        # What was paid for is kept first; only then is a request to stop heeded.
        delivery = attempt.progress.show(SAVING)
        for image in images:
            if image.position not in attempt.saved:
                self._keep(attempt, image)
        attempt.progress.heed(delivery)

    def _keep(self, attempt: RunningAttempt, image: GeneratedImage) -> None:
        claim = attempt.claim
        save = partial(self._image_store.save, claim.job_id, claim.attempt, image)
        with shielded():
            attempt.saved[image.position] = self._ending.insist(attempt, save)

    def _name_error(self, error: BaseException, attempt: RunningAttempt) -> DarkroomError:
        if isinstance(error, DarkroomError):
            return error
        if isinstance(error, self._traits.soft_limit_errors):
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


def _outcome_of_refusal(refused: ClaimRefused) -> Outcome:
    log.info("nothing to run", reason=refused.reason)
    if refused.reason == "not_due":
        return RetryAfter(refused.due_in_seconds)
    return NothingToDo(refused.reason)
