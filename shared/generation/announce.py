"""The end of a job, however it came about: its announcement, and cancelling.

Every end passes `Announcer.announce`: of an attempt, of the sweep, and of a cancel.

An announcement is the last event and the result record, then `announced_at` in the row.
"""

from uuid import UUID

import structlog

from shared.errors import JobCancelled, ServiceUnavailable, StorageUnavailable
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import EventPublisher
from shared.generation.saved_images import SavedImages
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job
from shared.status import Ending, JobStatus

log = structlog.get_logger(__name__)


class Announcer:
    """Announces ends, after their commit. Idempotent, so a process in doubt announces again.

    Args:
        saved: Completes a job that is cancelled after some of its images were saved.
    """

    def __init__(
        self, jobs: JobStore, publisher: EventPublisher, saved: SavedImages | None = None
    ) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._saved = saved

    def announce(self, ending: Ending, events: AttemptEvents | None = None) -> bool:
        """Publish the end and note it in the row; False leaves it to the next sweep.

        Args:
            ending: How the job has ended; committed.
            events: What its attempt could not publish so far goes first.
        """
        if events is not None:
            events.flush_before_end()
        result = self._publisher.publish_ending(ending)
        if result.outcome == "unsent":
            return False
        try:
            self._jobs.mark_announced(ending.job_id, result.progress)
        except ServiceUnavailable as error:
            log.warning("announcement not noted", job_id=str(ending.job_id), reason=str(error))
            return False
        return True

    def cancel(self, job_id: UUID, workspace_id: str | None = None) -> Job:
        """Request the end of a job and return the job; one that has ended stays unchanged.

        A job with saved images is completed with these.

        Raises:
            UnknownJob: There is none (in that workspace).
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        job = self._complete_waiting(job_id, workspace_id)
        if job is None:
            job = self._jobs.request_cancel(job_id, workspace_id)
        if job.status is JobStatus.PROCESSING:
            self._publisher.request_cancel(job.task_id)
        elif job.announced_at is None:
            self.announce(job.ending)
        return job

    def _complete_waiting(self, job_id: UUID, workspace_id: str | None) -> Job | None:
        """Complete a job that waits for another attempt from what the attempts before saved."""
        job = self._jobs.get(job_id, workspace_id)
        if self._saved is None or job.status is not JobStatus.PENDING or job.attempt == 0:
            return None
        try:
            return self._saved.complete(job.as_lost, JobCancelled())
        except StorageUnavailable as error:
            log.warning("saved images not looked for", job_id=str(job_id), reason=str(error))
            return None
