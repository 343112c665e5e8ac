"""Deleting jobs: their pictures first, then their rows, so that no picture is left unknown."""

from uuid import UUID

import structlog

from shared.errors import JobRuns, StorageUnavailable
from shared.imaging.store import ImageStore
from shared.jobs.job_store import JobStore

log = structlog.get_logger(__name__)


class Deleter:
    """Deletes jobs that have ended: on request, or when their retention is over."""

    def __init__(self, jobs: JobStore, image_store: ImageStore) -> None:
        self._jobs = jobs
        self._image_store = image_store

    def delete(self, job_id: UUID, workspace_id: str | None = None) -> None:
        """Delete a job with its ledger and its pictures; repeating it after a failure is safe.

        Raises:
            UnknownJob: There is none (in that workspace).
            JobRuns: It has not ended, or its end is not announced yet.
            StorageUnavailable: Some pictures may still be there, and the row is.
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        job = self._jobs.get(job_id, workspace_id)
        if job.announced_at is None:
            raise JobRuns(job_id)
        self._image_store.delete(job_id)
        self._jobs.delete(job_id)
        log.info("job deleted", job_id=str(job_id))

    def delete_outdated(self, days: float, limit: int) -> int:
        """Delete jobs that ended longer ago; return how many.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        deleted = 0
        for job_id in self._jobs.find_outdated(days, limit):
            try:
                self._image_store.delete(job_id)
            except StorageUnavailable as error:
                log.warning("pictures not deleted", job_id=str(job_id), reason=str(error))
                continue
            deleted += self._jobs.delete(job_id)
        return deleted
