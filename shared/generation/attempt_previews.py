"""Previews of a running attempt: kept for the API to show, up to the attempt's end.

A preview that cannot be kept is logged and costs the job `PATIENCE_SECONDS` at most; its attempt
then shows no more. Only a lost lease ends the attempt, as at every other write.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from typing import Self

import structlog

from shared.deadline import Deadline, shielded
from shared.errors import LeaseLost, one_line
from shared.imaging.provider import PreviewImage
from shared.imaging.store import ImageStore, preview_key
from shared.jobs.attempt_store import AttemptStore, StoredPreview
from shared.jobs.model import Claim

PATIENCE_SECONDS = 2.0
"""How long an attempt waits for a preview: disks and servers promise no shorter time."""

log = structlog.get_logger(__name__)


class AttemptPreviews:
    """The previews of one attempt: their bytes in the image store, then their rows.

    An attempt without previews costs nothing.
    """

    def __init__(
        self, image_store: ImageStore, rows: AttemptStore, claim: Claim, deadline: Deadline
    ) -> None:
        self._image_store = image_store
        self._rows = rows
        self._claim = claim
        self._deadline = deadline
        self._is_kept = True
        self._is_over = False
        self._keys: set[str] = set()

    @contextmanager
    def showing(self) -> Iterator[Self]:
        """Show previews up to the end of the body, then delete them.

        In a process that is being ended they stay, and are deleted with the job.
        """
        yield self
        self._is_over = True
        if self._keys:
            _is_done_within(PATIENCE_SECONDS, self._forget)

    def keep(self, preview: PreviewImage) -> None:
        """Show a preview from now on, in place of the one that its position had.

        Raises:
            LeaseLost: Another attempt has taken the job over.
        """
        if self._is_kept:
            seconds = min(PATIENCE_SECONDS, self._deadline.remaining_seconds())
            self._is_kept = _is_done_within(seconds, lambda: self._keep(preview))

    def _keep(self, preview: PreviewImage) -> None:
        claim = self._claim
        # Noted before the bytes are there: `_forget` may come while a store hangs.
        key = preview_key(claim.job_id, claim.attempt, preview.position)
        self._keys.add(key)
        self._image_store.put(key, preview.data, preview.media_type)
        if self._is_over:
            # The attempt waits no longer, and `_forget` may have run before the bytes were there.
            self._image_store.remove(key)
            return
        self._rows.note_preview(
            claim,
            StoredPreview(
                preview.position, key, preview.media_type, preview.width_px, preview.height_px
            ),
        )

    def _forget(self) -> None:
        # The rows first: no address may lead to bytes that are deleted. If that fails the bytes
        # are deleted all the same: an attempt that has ended shows no preview.
        try:
            self._rows.forget_previews(self._claim)
        finally:
            self._image_store.remove(*sorted(self._keys))


def _is_done_within(seconds: float, work: Callable[[], None]) -> bool:
    """Do the work in a thread of its own, and wait only so long.

    Raises:
        LeaseLost: As the work raised it.
    """
    done: Future[None] = Future()
    context = copy_context()  # The lines of the thread are the job's.
    # A process that ends does not wait for the thread.
    thread = threading.Thread(target=context.run, args=(_run, work, done), daemon=True)
    # The thread must not take the signals that are meant for the provider call.
    with shielded():
        thread.start()
    try:
        done.result(seconds)
    except LeaseLost:
        raise
    except TimeoutError:
        log.warning("previews given up", waited_seconds=round(seconds, 3))
        return False
    except Exception as error:  # An extra never fails its job.
        log.warning("previews given up", reason=one_line(f"{type(error).__name__}: {error}"))
        return False
    return True


def _run(work: Callable[[], None], done: Future[None]) -> None:
    try:
        work()
    except Exception as error:  # Raised where it is waited for.
        done.set_exception(error)
    else:
        done.set_result(None)
