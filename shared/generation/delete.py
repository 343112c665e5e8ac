"""Deleting jobs: their pictures first, then their rows, so that no picture is left unknown.

The housekeeping deletes what is of no use any more. It runs beside the sweep, never inside it, as
image stores may be slow: in a thread of every Celery worker's main process, and in runs of its own
of the scheduled Lambda function.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from itertools import islice
from types import MappingProxyType
from uuid import UUID

import structlog

from shared.errors import JobRuns, ServiceUnavailable, StorageUnavailable, UnknownJob
from shared.generation.sweep import AroundEach
from shared.imaging.store import ImageStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job

CHORE_SECONDS = 15.0
"""How long one chore goes on: the next run continues."""

BATCH = 100
"""Rows that one statement deletes."""

JOBS_LISTED = 1_000
FOREIGN_JOBS = 10
"""So many jobs of an image store and none with a row: they are those of another database."""

log = structlog.get_logger(__name__)


class Deleter:
    """Deletes jobs that have ended: on request, or when their retention is over.

    Args:
        retention_days: How long ended jobs are kept; None keeps them for ever.
        forget: More chores by name, each deletes so many rows that are too old, and returns how
            many it found.
        delete_assets: Deletes uploaded pictures that are too old, one with each step.
        delete_images: Deletes images that are too old, of one job with each step.
    """

    def __init__(
        self,
        jobs: JobStore,
        image_store: ImageStore,
        retention_days: float | None = None,
        forget: Mapping[str, Callable[[int], int]] = MappingProxyType({}),
        delete_assets: Callable[[], Iterator[int]] = lambda: iter(()),
        delete_images: Callable[[], Iterator[int]] = lambda: iter(()),
    ) -> None:
        self._jobs = jobs
        self._image_store = image_store
        self._retention_days = retention_days
        self._forget = {"keys": jobs.forget_idempotency_keys, **forget}
        self._delete_assets = delete_assets
        self._delete_images = delete_images
        self._deleted_to: Job | None = None
        self._listed: Iterator[UUID] | None = None

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

    def tidy(self, around_each: AroundEach = nullcontext) -> dict[str, int]:
        """Do the housekeeping; return how much each chore deleted.

        A chore has a time of its own, and stops at the first sign of an outage.

        Args:
            around_each: Entered for the length of each piece of work.
        """
        chores = {
            "jobs": self._delete_outdated(),
            "images": self._delete_images(),
            "assets": self._delete_assets(),
            "orphans": self._delete_orphans(),
            **{name: _forget_all(forget) for name, forget in self._forget.items()},
        }
        return {name: _work_off(name, chore, around_each) for name, chore in chores.items()}

    def _delete_outdated(self) -> Iterator[int]:
        while self._retention_days is not None:
            job = self._jobs.find_outdated(self._retention_days, self._deleted_to)
            # Noted before it is tried: the next run goes on behind one that cannot be deleted.
            self._deleted_to = job
            if job is None:
                return
            with suppress(UnknownJob):  # Deleted by another process meanwhile.
                self.delete(job.id)
            yield 1

    def _delete_orphans(self) -> Iterator[int]:
        """Delete the images of jobs without a row: an overtaken attempt may have saved them.

        Looks at the next thousand jobs of the store.
        """
        listed = self._listed or self._image_store.list_jobs()
        self._listed = None  # Begun anew after an error.
        page = list(islice(listed, JOBS_LISTED))
        unknown = self._jobs.find_unknown(page)
        if len(unknown) == len(page) >= FOREIGN_JOBS:
            log.warning("images without rows left alone", jobs=len(page))
            return
        for job_id in unknown:
            self._image_store.delete(job_id)
            log.info("images without row deleted", job_id=str(job_id))
            yield 1
        if len(page) == JOBS_LISTED:
            self._listed = listed


def _forget_all(forget: Callable[[int], int]) -> Iterator[int]:
    while forgotten := forget(BATCH):
        yield forgotten


def _work_off(name: str, chore: Iterator[int], around_each: AroundEach) -> int:
    until = time.monotonic() + CHORE_SECONDS
    deleted = 0
    try:
        while time.monotonic() < until:
            with around_each():
                done = next(chore, None)
            if done is None:
                break
            deleted += done
    except (ServiceUnavailable, StorageUnavailable) as error:
        log.warning("chore stopped", chore=name, reason=str(error))
    if deleted:
        log.info("chore done", chore=name, deleted=deleted)
    return deleted
