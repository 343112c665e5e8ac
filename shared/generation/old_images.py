"""A chore of the housekeeping: images that are kept for less time than their jobs."""

from collections.abc import Iterator

import structlog

from shared.imaging.store import ImageStore
from shared.jobs.job_store import JobStore, OldImage

log = structlog.get_logger(__name__)


class OldImages:
    """Deletes the images of jobs that have ended and stay, with their receipts.

    Args:
        days: How long images are kept; None as long as their jobs.
    """

    def __init__(self, jobs: JobStore, image_store: ImageStore, days: float | None) -> None:
        self._jobs = jobs
        self._image_store = image_store
        self._days = days
        self._deleted_to: OldImage | None = None

    def delete(self) -> Iterator[int]:
        """Delete the images of one job after another, the oldest first; yield 1 for each job."""
        while self._days is not None:
            found = self._jobs.find_old_image(self._days, self._deleted_to)
            # Noted before it is tried: the next run goes on behind what cannot be deleted.
            self._deleted_to = found
            if found is None:
                return
            # Bytes first: a failure leaves the rows, and is tried again.
            self._image_store.delete(found.job_id)
            self._jobs.forget_images(found.job_id)
            log.info("images deleted", job_id=str(found.job_id))
            yield 1
