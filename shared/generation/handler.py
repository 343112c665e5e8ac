"""Running one job: the same steps in every runtime.

A runtime hands over the job id of an envelope and a deadline, and obeys the outcome. It is
called by the Celery task and by the Lambda handler, in the main thread of a process.
"""

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from shared import tracing
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
from shared.generation.attempt_previews import AttemptPreviews
from shared.generation.charges import ChargePolicy
from shared.generation.ending import AttemptEnding
from shared.generation.lease import LeaseKeeper
from shared.generation.outcome import NothingToDo, Outcome, RetryAfter
from shared.generation.purchases import AttemptPurchases, OpenBills
from shared.imaging.models import Models, OfferedModel
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState
from shared.imaging.service import ImageService
from shared.imaging.store import ImageStore
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.model import Claim, ClaimRefused, EarlierCalls
from shared.status import PREPARING, SAVING, STARTING
from shared.tracing import JobTrace, Span

_NETWORK_ERRORS = (ConnectionError, TimeoutError, socket.gaierror)
"""Other errors of the system, such as a full disk, are no fault of the provider."""

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
    models: Models
    images: ImageService
    image_store: ImageStore
    charges: ChargePolicy
    ending: AttemptEnding
    traits: RuntimeTraits
    bills: OpenBills | None = None

    def handle(self, job_id: str, deadline: Deadline) -> Outcome:
        """Run one attempt of the job, if it is due and not owned by another worker.

        Raises:
            MalformedEnvelope: This is no job id.
            UnknownJob: There is no such job.
            ServiceUnavailable: PostgreSQL was unavailable at the claim; nothing has happened yet.
        """
        with shielded(), bound_contextvars(job_id=str(job_id)[:64]):
            claim = self.attempts.claim(_parse_job_id(job_id), deadline.kill_seconds)
            if isinstance(claim, ClaimRefused):
                log.info("nothing to run", reason=claim.reason)
                is_early = claim.reason == "not_due"
                return RetryAfter(claim.due_in_seconds) if is_early else NothingToDo(claim.reason)
            with _attempt_span(claim) as span, bound_contextvars(**_ids_of(claim, span)):
                started_at = time.monotonic()
                log.info("attempt started", max_attempts=claim.max_attempts)
                outcome = self._run(claim, deadline)
                span.note({"darkroom.outcome": outcome.name})
                seconds = round(time.monotonic() - started_at, 3)
                log.info("attempt ended", outcome=outcome.name, seconds=seconds)
            if self.bills is not None:
                self.bills.ask(deadline)
            return outcome

    def _run(self, claim: Claim, deadline: Deadline) -> Outcome:
        shown = AttemptPreviews(self.image_store, self.attempts, claim, deadline)
        with shown.showing() as previews, self.keeper.holding(claim) as lease:
            events = AttemptEvents(
                self.publisher,
                claim.task_id,
                token=claim.token,
                attempt=claim.attempt,
                max_attempts=claim.max_attempts,
                owns_job=lease.owns_job,
            )
            attempt = RunningAttempt(claim, deadline, lease, events, self.image_store)
            try:
                started = attempt.publish(STARTING)
                attempt.publish(PREPARING)
                attempt.params = ImageParams.from_row(claim.params, claim.job_id)
                # Redis may remember an attempt that the row has forgotten in a failover.
                if claim.attempt > 1 or started.outcome != "appended":
                    self._find_saved(attempt)
                if self.traits.is_stopping():
                    return self.ending.release(attempt)
                if len(attempt.saved) < attempt.params.n:
                    self._generate(attempt, previews)
                else:
                    attempt.publish(SAVING)
                return self.ending.complete(attempt)
            except LeaseLost as error:
                return self.ending.leave(attempt, error)
            except Exception as error:  # The attempt boundary: every error gets a row.
                return self.ending.settle(attempt, self._name_error(error, attempt))
            except BaseException:
                self.ending.hand_back(attempt)
                raise

    def _generate(self, attempt: RunningAttempt, previews: AttemptPreviews) -> None:
        claim, params, deadline = attempt.claim, attempt.params, attempt.deadline
        model = self.models.get(claim.model)
        # A foreign producer may have asked for anything.
        model.offer.check(params, len(claim.picture_ids), has_mask=claim.mask_asset_id is not None)
        missing = tuple(n for n in range(params.n) if n not in attempt.saved)
        deadline.check()
        earlier = EarlierCalls()
        if claim.attempt > 1:
            earlier = attempt.repeat(lambda: self.attempts.earlier_calls(claim))
        attempt.was_billed = earlier.is_billed
        bought = {each.position for each in earlier.purchases}
        price_of, left = model.offer.priced(params.quality), claim.budget_left_microdollars
        self.charges.check_call(params, earlier, len({*missing} - bought), price_of, left)
        references, mask = self._load_pictures(attempt)
        # Servers may have been waited for: past the deadline there is no call, and so no bill.
        deadline.check()
        with _call_span(model), interruptible():
            attempt.is_sent, attempt.charge_state = True, self._open_charge(model)
            answer = self.images.process_generation(
                claim.job_id,
                params,
                model=model,
                positions=missing,
                attempt=claim.attempt,
                idempotency_key=_idempotency_key(attempt, earlier),
                references=references,
                mask=mask,
                deadline=deadline,
                on_progress=attempt.publish_rendering,
                on_bill=attempt.note_bill,
                on_image=attempt.keep,
                on_preview=previews.keep,
                purchases=self._purchases_of(attempt, model, earlier),
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

    def _open_charge(self, model: OfferedModel) -> ChargeState:
        """Return what is known of the bill before anything is sent."""
        # Each purchase is noted before it is sent.
        return ChargeState.NONE if model.makes_later else self.charges.of_open_call

    def _purchases_of(
        self, attempt: RunningAttempt, model: OfferedModel, earlier: EarlierCalls
    ) -> AttemptPurchases | None:
        if not model.makes_later:
            return None
        return AttemptPurchases(attempt, self.attempts, earlier.purchases)

    def _find_saved(self, attempt: RunningAttempt) -> None:
        for image in self.image_store.find_saved(attempt.claim.job_id):
            if image.position < attempt.params.n:
                attempt.saved[image.position] = image

    def _load_pictures(self, attempt: RunningAttempt) -> tuple[list[bytes], bytes | None]:
        """Return the files of the references, in order, and that of the mask."""
        claim = attempt.claim
        if not claim.picture_ids:
            return [], None
        keys = attempt.repeat(lambda: self.attempts.picture_keys(claim))
        files = [self.image_store.load(key) for key in keys]
        count = len(claim.picture_ids)
        return files[:count], next(iter(files[count:]), None)

    def _name_error(self, error: BaseException, attempt: RunningAttempt) -> DarkroomError:
        if isinstance(error, DarkroomError):
            return error
        if isinstance(error, self.traits.soft_limit_errors):
            return SoftTimeLimitReached(attempt.deadline.soft_limit_seconds)
        if isinstance(error, _NETWORK_ERRORS):
            return ProviderUnavailable(f"Network error ({type(error).__name__})")
        log.exception("attempt broke", exc_info=error)
        return UnexpectedError(f"Internal error ({type(error).__name__})")


def _attempt_span(claim: Claim) -> AbstractContextManager[Span]:
    trace = JobTrace(claim.job_id, claim.traceparent)
    attributes = {
        **tracing.job_attributes(claim.job_id, "process"),
        "darkroom.attempt": claim.attempt,
    }
    place = trace.place_of(claim.token)
    return tracing.span(f"process {tracing.DESTINATION}", "consumer", attributes, place)


def _call_span(model: OfferedModel) -> AbstractContextManager[Span]:
    attributes = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.output.type": "image",
        "gen_ai.provider.name": model.provider,
        "gen_ai.request.model": model.name,
    }
    return tracing.span(f"generate_content {model.name}", "client", attributes)


def _ids_of(claim: Claim, span: Span) -> Mapping[str, str | int]:
    """Return what stands in every line of an attempt."""
    request = {} if claim.request_id is None else {"request_id": claim.request_id}
    return {"task_id": claim.task_id, "attempt": claim.attempt, **request, **span.log_fields}


def _idempotency_key(attempt: RunningAttempt, earlier: EarlierCalls) -> str:
    """Return a key that changes with each answer, and not for a call that may have been billed.

    An attempt that has saved an image had an answer; the images to ask for are others since.
    """
    saved_last = max((image.attempt for image in attempt.saved.values()), default=0)
    return f"{attempt.claim.job_id}-{max(earlier.last_known, saved_last) + 1}"


def _parse_job_id(job_id: str) -> UUID:
    try:
        return UUID(job_id)
    except (ValueError, TypeError, AttributeError):
        raise MalformedEnvelope(f"{str(job_id)[:64]!r} is not a job id") from None
