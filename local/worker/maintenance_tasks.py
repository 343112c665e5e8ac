"""What Celery beat runs on the queue `default`: tidying, which is not urgent.

Nothing here is part of recovery: the sweep runs without beat, and in no job slot.
"""

from datetime import timedelta

import structlog

from local.celery_app import celery_app
from shared.adapters.celery_broker import LEFTOVERS_TASK_NAME
from shared.adapters.disk_images import DiskImageStore
from shared.errors import StorageUnavailable

LEFTOVER_AGE = timedelta(hours=1)
"""Longer than any attempt may write one picture."""

settings = celery_app.darkroom_settings
log = structlog.get_logger(__name__)


@celery_app.task(name=LEFTOVERS_TASK_NAME)
def delete_leftovers_task() -> None:
    """Delete what killed writers left in IMAGE_DIR.

    A bucket holds nothing of the kind: an object appears whole or not at all.
    """
    if settings.image_bucket is not None:
        return
    try:
        deleted = DiskImageStore(settings.image_dir).delete_leftovers(LEFTOVER_AGE.total_seconds())
    except StorageUnavailable as error:
        log.warning("leftovers stay", reason=str(error))
        return
    log.info("leftovers deleted", files=deleted)
