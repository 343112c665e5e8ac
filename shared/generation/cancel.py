"""Cancelling a job: a waiting one ends at once, a running one at its next step."""

from uuid import UUID

from shared.events.publisher import EventPublisher
from shared.generation.announce import Announcer
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job
from shared.status import JobStatus


class Canceller:
    """Cancels jobs."""

    def __init__(self, jobs: JobStore, publisher: EventPublisher, announcer: Announcer) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._announcer = announcer

    def cancel(self, job_id: UUID, workspace_id: str | None = None) -> Job:
        """Request the end of a job and return the job; one that has ended stays unchanged.

        Raises:
            UnknownJob: There is none (in that workspace).
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        job = self._jobs.request_cancel(job_id, workspace_id)
        if job.status is JobStatus.PROCESSING:
            self._publisher.request_cancel(job.task_id)
        elif job.announced_at is None:
            self._announcer.announce(job.ending)
        return job
