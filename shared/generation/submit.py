"""Accepting a job: row first, then its first event, then its envelope."""

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.events.publisher import EventPublisher
from shared.generation.release import Releaser
from shared.imaging.offers import Offer
from shared.jobs.job_store import Accepted, JobStore, NewJob, Terms
from shared.jobs.model import Job

if TYPE_CHECKING:
    from shared.imaging.request import GenerationRequest


class Submitter:
    """Turns requests into jobs that will run, whatever is down after the row is committed.

    Args:
        offer: What the model makes; None means everything.
    """

    def __init__(
        self,
        jobs: JobStore,
        publisher: EventPublisher,
        releaser: Releaser,
        max_attempts: int,
        offer: Offer | None = None,
    ) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._releaser = releaser
        self._max_attempts = max_attempts
        self._offer = offer

    def submit(self, request: "GenerationRequest") -> Job:
        """Accept a request and return its job.

        Raises:
            InvalidRequest: The workspace, user or product does not exist, or the model does not
                offer what is asked for.
            ServiceUnavailable: PostgreSQL cannot be reached; nothing was accepted.
        """
        return self.submit_on(request, Terms()).job

    def submit_on(self, request: "GenerationRequest", terms: Terms) -> Accepted:
        """Accept a request within its workspace's limits, once for its idempotency key.

        Raises:
            InvalidRequest: The workspace, user or product does not exist, or the model does not
                offer what is asked for.
            IdempotencyKeyReused: The key came with another request within 24 hours.
            TooManyOpenJobs: The workspace has as many as it may; nothing was accepted.
            ServiceUnavailable: PostgreSQL cannot be reached; nothing was accepted.
        """
        terms = replace(terms, release=self._releaser.rules_now)
        accepted = self._jobs.accept(self._new_job(request), terms)
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

    def _new_job(self, request: "GenerationRequest") -> NewJob:
        params = request.params()
        if self._offer is not None:
            self._offer.check(
                params.size,
                params.n,
                params.max_cost_microdollars,
                has_reference=request.source_asset_id is not None,
            )
        return NewJob(
            workspace_id=request.workspace_id,
            user_id=request.user_id,
            product_id=request.product_id,
            params=params.as_row(),
            max_attempts=self._max_attempts,
            source_asset_id=request.source_asset_id,
        )
