"""Putting envelopes on their way: whoever accepts, retries or revives a job sends through this."""

from uuid import UUID

import structlog

from shared.errors import ServiceUnavailable
from shared.jobs.dispatcher import Dispatcher
from shared.jobs.job_store import JobStore

log = structlog.get_logger(__name__)


class EnvelopeSender:
    """Dispatches jobs, and leaves to the sweep what the queue does not take."""

    def __init__(self, dispatcher: Dispatcher, jobs: JobStore) -> None:
        self._dispatcher = dispatcher
        self._jobs = jobs

    def send(self, job_id: UUID, task_id: str, delay_seconds: float = 0) -> bool:
        """Send the envelope of a waiting job; False leaves it to the next sweep.

        Called after the row is committed; nothing that is away raises anything.

        Args:
            job_id: The job.
            task_id: What a queue that names its messages calls this one; empty where none does.
            delay_seconds: From now to its delivery.
        """
        try:
            self._dispatcher.dispatch(job_id, task_id, delay_seconds)
        except ServiceUnavailable as error:
            log.warning("not dispatched", job_id=str(job_id), reason=str(error))
            self.leave_to_sweep(job_id)
            return False
        return True

    def leave_to_sweep(self, *job_ids: UUID) -> None:
        """Note that these jobs' envelopes were not sent."""
        try:
            self._jobs.mark_undispatched(*job_ids)
        except ServiceUnavailable as error:
            # The grace period of the dispatch that did not happen has to pass first.
            log.warning("not noted either", job_ids=[*map(str, job_ids)], reason=str(error))
