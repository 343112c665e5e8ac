"""Accepting a job: row first, then its first event, then its envelope."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from structlog.contextvars import get_contextvars

from shared import tracing
from shared.database.foreign import ForeignConnection
from shared.errors import JobRuns
from shared.events.publisher import EventPublisher
from shared.generation.release import Releaser
from shared.imaging.models import Models, OfferedModel
from shared.jobs.acceptance import Accepted, NewJob, Standing, Terms
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job, Priority
from shared.jobs.workspace_limits import SubmissionLimits
from shared.tracing import DESTINATION, JobTrace, Place, Span, fit_request_id, job_attributes
from shared.webhooks.store import WebhookStore

if TYPE_CHECKING:
    from shared.generation.asset_keeper import AssetKeeper
    from shared.imaging.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Quote:
    """What a request would cost, and whether it would be accepted now.

    Attributes:
        prices: Of all its images in micro-dollars, with each model in the order in which they are
            tried; None: not known.
    """

    prices: Sequence[tuple[OfferedModel, int | None]]
    standing: Standing


class Submitter:
    """Turns requests into jobs that will run, whatever is down after the row is committed.

    Args:
        models: What requests may name.
        webhooks: What checks the addresses that requests name.
        assets: What checks the masks that requests name, once one does.
    """

    def __init__(
        self,
        jobs: JobStore,
        publisher: EventPublisher,
        releaser: Releaser,
        max_attempts: int,
        models: Models,
        webhooks: WebhookStore | None = None,
        assets: "Callable[[], AssetKeeper] | None" = None,
    ) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._releaser = releaser
        self._max_attempts = max_attempts
        self._models = models
        self._webhooks = webhooks
        self._assets = assets

    def submit(
        self, request: "GenerationRequest", connection: ForeignConnection | None = None
    ) -> Job:
        """Accept a request and return its job.

        Args:
            request: What is asked for.
            connection: Of a caller whose own commit accepts the job; None commits it here.

        Raises:
            InvalidRequest: The workspace, user or product does not exist, the model does not
                offer what is asked for, or `webhook_url` is not allowed.
            ConfigurationError: The caller's connection has no transaction.
            ServiceUnavailable: PostgreSQL cannot be reached; nothing was accepted.
        """
        if connection is None:
            return self.submit_on(request, Terms()).job
        with _named(self._new_job(request)) as (new, span):
            job = self._jobs.insert_within(connection, new)
            span.note(job_attributes(job.id, "create"))
            return job

    def submit_on(self, request: "GenerationRequest", terms: Terms) -> Accepted:
        """Accept a request within its workspace's limits, once for its idempotency key.

        Raises:
            InvalidRequest: The workspace, user or product does not exist, the model does not
                offer what is asked for, or `webhook_url` is not allowed.
            IdempotencyKeyReused: The key came with another request within 24 hours.
            JobDeleted: It came with this request, and the job was deleted since.
            LimitReached: The workspace has as many as it may, or has used up its budget; nothing
                was accepted.
            ServiceUnavailable: PostgreSQL cannot be reached; nothing was accepted.
        """
        return self._accept(self._new_job(request), terms)

    def quote(self, request: "GenerationRequest", limits: SubmissionLimits) -> Quote:
        """Return what a request would cost; nothing is written.

        Raises:
            InvalidRequest: It would not be accepted, whatever is left of the limits. Whether
                user, product and asset exist is left to the submission.
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        new = self._new_job(request)
        models, params = map(self._models.get, new.models), request.params()
        prices = [(model, model.offer.quote(params)) for model in models]
        return Quote(prices, self._jobs.quote(new, limits))

    def retry(self, job_id: UUID, terms: Terms, workspace_id: str | None = None) -> Accepted:
        """Accept the order of a job that has ended once more, as a job of its own.

        Raises:
            UnknownJob: There is none (in that workspace).
            JobRuns: It has not ended.
            InvalidRequest, IdempotencyKeyReused, JobDeleted, LimitReached: See `submit_on`.
            ServiceUnavailable: PostgreSQL cannot be reached; nothing was accepted.
        """
        job = self._jobs.get(job_id, workspace_id)
        if not job.status.is_terminal:
            raise JobRuns(job_id)
        return self._accept(self._again(job), terms, retried=job)

    def _accept(self, new: NewJob, terms: Terms, retried: Job | None = None) -> Accepted:
        with _named(new, retried) as (named, span):
            accepted = self._accept_named(named, replace(terms, release=self._releaser.rules_now))
            span.note(job_attributes(accepted.job.id, "create"))
            return accepted

    def _accept_named(self, new: NewJob, terms: Terms) -> Accepted:
        accepted = self._jobs.accept(new, terms)
        if accepted.is_new:
            # Published before the envelope is sent, so that no worker's event can come first.
            job = accepted.job
            self._publisher.publish_waiting(
                job.task_id, token=0, attempt=1, max_attempts=job.max_attempts
            )
            if accepted.envelope is not None:
                self._releaser.send([accepted.envelope])
            else:
                # A slot may have become free while this row was not visible yet.
                self._releaser.release_or_leave()
        return accepted

    def _again(self, job: Job) -> NewJob:
        models = [self._models.get(name) for name in _named_models(job.params)]
        within = None if job.start_by is None else job.start_by - job.created_at
        return NewJob(
            workspace_id=job.workspace_id,
            user_id=job.user_id,
            product_id=job.product_id,
            params=job.params,
            provider=models[0].provider,
            models=[model.name for model in models],
            max_attempts=max(self._max_attempts, len(models)),
            source_asset_id=job.source_asset_id,
            reference_asset_ids=job.reference_asset_ids,
            mask_asset_id=job.mask_asset_id,
            priority=Priority(job.priority),
            start_within_seconds=None if within is None else max(1, round(within.total_seconds())),
            webhook_url=job.webhook_url,
            webhook_events=job.webhook_events or (),
            retry_of=job.id,
            quoted_microdollars=job.quoted_microdollars,
        )

    def _new_job(self, request: "GenerationRequest") -> NewJob:
        params = request.params()
        models = [self._models.get(name) for name in _named_models(dict(params))]
        for model in models:
            has_mask = request.mask_asset_id is not None
            model.offer.check(params, len(request.picture_ids), has_mask=has_mask)
        prices = [model.offer.quote(params) for model in models]
        if request.webhook_url is not None and self._webhooks is not None:
            self._webhooks.check_request(request.workspace_id, request.webhook_url)
        pictures, mask_id = request.picture_ids, request.mask_asset_id
        if mask_id is not None and pictures and self._assets is not None:
            self._assets().check_mask(mask_id, pictures[0], request.workspace_id)
        return NewJob(
            workspace_id=request.workspace_id,
            user_id=request.user_id,
            product_id=request.product_id,
            params=params.as_row(),
            provider=models[0].provider,
            models=[model.name for model in models],
            max_attempts=max(self._max_attempts, len(models)),
            source_asset_id=request.source_asset_id,
            reference_asset_ids=request.reference_asset_ids,
            mask_asset_id=request.mask_asset_id,
            priority=Priority[request.priority.upper()],
            start_within_seconds=request.start_within_seconds,
            webhook_url=request.webhook_url,
            webhook_events=request.webhook_events,
            # Of the dearest: each may be the one that makes them.
            quoted_microdollars=None if None in prices else max(filter(None, prices), default=0),
        )


def _named_models(params: Mapping[str, Any]) -> Sequence[str | None]:
    """Return the models that a job names, in order; None stands for the default one.

    A foreign producer may have written anything: then the default model is asked.
    """
    names, name = params.get("models"), params.get("model")
    if isinstance(names, list) and names and all(isinstance(each, str) for each in names):
        return names
    return [name if isinstance(name, str) else None]


def _trace_of(job: Job) -> JobTrace:
    return JobTrace(job.id, job.traceparent)


@contextmanager
def _named(new: NewJob, retried: Job | None = None) -> Iterator[tuple[NewJob, Span]]:
    """Yield a job whose row names this span, so that every process continues its trace."""
    links = () if retried is None else (_trace_of(retried).attempt(retried.lease_token),)
    place = Place(tracing.current().traceparent, links=links)
    with tracing.span(f"create {DESTINATION}", "producer", place=place) as span:
        request_id = fit_request_id(get_contextvars().get("request_id"))
        yield replace(new, traceparent=span.traceparent, request_id=request_id), span
