"""Completes jobs from the images that were saved, where no attempt will do it.

Used by the sweep for jobs that lost their last worker, and by a cancel of a job that waits for
another attempt. Saved images were paid for: they are never thrown away.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

import structlog

from shared.errors import AttemptError, InvalidRequest, error_record
from shared.imaging.params import ImageParams
from shared.imaging.store import ImageStore, StoredImage
from shared.jobs.model import Job, LostJob
from shared.jobs.recovery_store import RecoveryStore

log = structlog.get_logger(__name__)


class SavedImages:
    """The images of jobs that an ended attempt has saved.

    Args:
        image_store: Returns the image store, which most callers never need.
    """

    def __init__(self, image_store: Callable[[], ImageStore], recovery: RecoveryStore) -> None:
        self._image_store = image_store
        self._recovery = recovery

    def complete(self, job: LostJob, error: AttemptError) -> Job | None:
        """Complete a job from its saved images; None if it has none, or has changed.

        Args:
            job: As it was found.
            error: Why its last attempt ended.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
            StorageUnavailable: The image store cannot be used.
        """
        try:
            wanted = ImageParams.from_row(job.params, job.id).n
        except InvalidRequest:
            return None
        found = self._image_store().find_saved(job.id)
        images = [image for image in found if image.position < wanted]
        if not images:
            return None
        rows = rows_of(images)
        result = result_of(rows, wanted - len(images))
        completed = self._recovery.complete(job, rows, result, error_record(error, job.attempt))
        if completed is not None:
            log.warning("job completed from its saved images", job_id=str(job.id), code=error.code)
        return completed


def rows_of(images: Iterable[StoredImage]) -> list[dict[str, Any]]:
    """Return the rows of images, by position."""
    in_order = sorted(images, key=lambda image: image.position)
    return [_row_of(image, uuid4()) for image in in_order]


def result_of(rows: list[dict[str, Any]], missing: int) -> Mapping[str, Any]:
    """Return the `result` of a job: its images as clients see them, and how many are missing."""
    shown = ("id", "position", "url", "media_type", "width_px", "height_px")
    return {"images": [{name: row[name] for name in shown} for row in rows], "missing": missing}


def _row_of(image: StoredImage, image_id: UUID) -> dict[str, Any]:
    return {"id": str(image_id), "url": f"/v1/images/{image_id}", **asdict(image)}
