"""Previews: stored for the API to show while their attempt runs.

An error is logged and costs the job `PATIENCE_SECONDS` at most; the attempt then shows no more
previews. A lost lease ends the attempt, as at every other write.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared.deadline import Deadline, shielded
from shared.errors import LeaseLost, ServiceUnavailable, StorageUnavailable, one_line
from shared.imaging.provider import PreviewImage
from shared.imaging.store import ImageStore, preview_key
from shared.jobs.model import Claim
from shared.jobs.preview_store import PreviewStore, StoredPreview

PATIENCE_SECONDS = 2.0
"""How long an attempt waits for a preview to be kept: neither disks nor servers promise less."""

log = structlog.get_logger(__name__)


class AttemptPreviews:
    """What one attempt has to show; no cost for one that has nothing."""

    def __init__(
        self, image_store: ImageStore, rows: PreviewStore, claim: Claim, deadline: Deadline
    ) -> None:
        self._image_store = image_store
        self._rows = rows
        self._claim = claim
        self._deadline = deadline
        self.keys: set[str] = set()
        self._is_kept = True
        self.is_over = False

    def keep(self, preview: PreviewImage) -> None:
        """Show a preview from now on, in place of the one of its position before.

        Raises:
            LeaseLost: Another worker owns the job.
        """
        if self._is_kept:
            patience = min(PATIENCE_SECONDS, self._deadline.remaining_seconds())
            self._is_kept = _BoundedWork(partial(self._keep, preview)).wait(patience)

    def forget(self) -> None:
        """Leave nothing behind, once the attempt has ended; what stays goes with the job."""
        _BoundedWork(self._forget).wait(PATIENCE_SECONDS)

    def _keep(self, preview: PreviewImage) -> None:
        claim = self._claim
        # Known before the bytes are there: `forget` may come while a store hangs.
        key = preview_key(claim.job_id, claim.attempt, preview.position)
        self.keys.add(key)
        self._image_store.save_preview(claim.job_id, claim.attempt, preview)
        if self.is_over:
            # The attempt is over, and `forget` may have run before the bytes were saved.
            self._image_store.delete_previews([key])
            return
        self._rows.note(
            claim,
            StoredPreview(
                preview.position, key, preview.media_type, preview.width_px, preview.height_px
            ),
        )

    def _forget(self) -> None:
        # The rows first, so that no address leads to deleted bytes. The bytes are deleted even
        # if that fails, because an attempt that has ended shows no preview.
        try:
            self._rows.forget(self._claim)
        finally:
            self._image_store.delete_previews(sorted(self.keys))


class PreviewKeeper:
    """Keeps the previews of running attempts: their bytes in the image store, then their rows."""

    def __init__(self, image_store: ImageStore, rows: PreviewStore) -> None:
        self._image_store = image_store
        self._rows = rows

    @contextmanager
    def showing(self, claim: Claim, deadline: Deadline) -> Iterator[AttemptPreviews]:
        """Show the previews of an attempt, up to the end of the body."""
        previews = AttemptPreviews(self._image_store, self._rows, claim, deadline)
        yield previews
        # In a process that is being ended they stay, and go with the job.
        previews.is_over = True
        if previews.keys:
            previews.forget()


class _BoundedWork:
    """Work in a thread of its own, started at once, with a bounded wait."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._ended = threading.Event()
        self._succeeded = False
        self._lost: LeaseLost | None = None
        # Its lines are the job's. A process that ends does not wait for it.
        run = partial(copy_context().run, self._run)
        thread = threading.Thread(target=run, name="previews", daemon=True)
        # The thread must not take the signals that are meant for the provider call.
        with shielded():
            thread.start()

    def wait(self, seconds: float) -> bool:
        """Return whether the work was done in time.

        Raises:
            LeaseLost: As the work raised it.
        """
        if not self._ended.wait(seconds):
            log.warning("previews given up", waited_seconds=round(seconds, 3))
            return False
        if self._lost is not None:
            raise self._lost
        return self._succeeded

    def _run(self) -> None:
        try:
            self._work()
            self._succeeded = True
        except LeaseLost as error:
            self._lost = error
        except (StorageUnavailable, ServiceUnavailable, SQLAlchemyError) as error:
            log.warning("previews given up", reason=one_line(str(error)))
        finally:
            self._ended.set()
