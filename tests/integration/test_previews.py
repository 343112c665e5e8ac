"""Previews: shown while their attempt runs, and without effect on any job."""

import threading
import time
from uuid import UUID

import pytest
from sqlalchemy import Engine

from shared.adapters.disk_images import DiskImageStore
from shared.errors import LeaseLost, PromptRejected, StorageUnavailable, UnknownPreview
from shared.generation.attempt_previews import PATIENCE_SECONDS
from shared.generation.outcome import Completed, Failed, NothingToDo
from shared.imaging.provider import PreviewImage, ProviderCall
from shared.jobs.attempt_store import AttemptStore, StoredPreview
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim, Job
from shared.jobs.release_store import ReleaseRules
from shared.jobs.views import JobViews
from tests.support.builders import FaultyImageStore, ScriptedProvider, fail, new_job
from tests.support.database import Database, Row
from tests.support.wait import wait_until
from tests.support.worker import WHOLE_JOB, Hire, Published

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def job(jobs: JobStore) -> Job:
    """Give a queued job for two images."""
    return jobs.insert(new_job(n=2))


@pytest.fixture
def views(engine: Engine) -> JobViews:
    """Give jobs as clients see them."""
    return JobViews(engine, ReleaseRules("celery", "mock"))


def preview(position: int, text: bytes = b"") -> PreviewImage:
    """Return a preview whose bytes begin like a PNG's."""
    return PreviewImage(position, PNG + text, "image/png", 64, 48)


def show(call: ProviderCall) -> None:
    """Show three previews, two of them of one position: what a provider does in a call."""
    for each in (preview(0, b"one"), preview(1, b"two"), preview(0, b"three")):
        call.preview(each)


def rows_of(database: Database, job_id: UUID) -> list[Row]:
    """Return the rows of a job's previews."""
    return database.fetch(
        "SELECT * FROM previews WHERE job_id = %(id)s ORDER BY position", id=str(job_id)
    )


def has_bytes(image_store: DiskImageStore, job: Job) -> bool:
    """Return whether the first attempt's first preview lies in the store."""
    try:
        image_store.load(f"{job.id}/1/0.preview")
    except StorageUnavailable:
        return False
    return True


def claim_of(attempts: AttemptStore, job: Job) -> Claim:
    """Claim a job that can be claimed."""
    claim = attempts.claim(job.id)
    assert isinstance(claim, Claim)
    return claim


def stored(claim: Claim, position: int = 0) -> StoredPreview:
    """Return a preview as an attempt notes it."""
    key = f"{claim.job_id}/{claim.attempt}/{position}.preview"
    return StoredPreview(position, key, "image/png", 64, 48)


def test_previews_are_shown_while_the_attempt_runs_and_leave_nothing(
    job: Job,
    hire: Hire,
    published: Published,
    database: Database,
    image_store: DiskImageStore,
    views: JobViews,
) -> None:
    """The newest of each position, with its bytes; then there are pictures alone."""
    shown: list[UUID] = []

    def look(call: ProviderCall) -> None:
        show(call)
        seen = views.get(job.id, "default").previews
        assert [(each["position"], each["number"]) for each in seen] == [(0, 2), (1, 1)]
        assert (seen[0]["width_px"], seen[0]["height_px"]) == (64, 48)
        shown.extend(UUID(each["id"]) for each in seen)
        found = views.get_preview(shown[0])
        assert (found.storage_key, found.media_type) == (f"{job.id}/1/0.preview", "image/png")
        assert image_store.load(found.storage_key) == PNG + b"three"
        with pytest.raises(UnknownPreview):
            views.get_preview(shown[0], "other-shop")

    assert hire(ScriptedProvider(look)).run(job.id) == Completed(0)
    assert published(job) == WHOLE_JOB
    assert len(shown) == 2
    assert views.get(job.id, "default").previews == []
    assert rows_of(database, job.id) == []
    for position in (0, 1):
        with pytest.raises(StorageUnavailable):
            image_store.load(f"{job.id}/1/{position}.preview")
    with pytest.raises(UnknownPreview):
        views.get_preview(shown[0])


def test_failed_job_shows_no_preview(
    job: Job, hire: Hire, database: Database, views: JobViews
) -> None:
    """It may be of a picture that was withheld."""

    def refuse(call: ProviderCall) -> None:
        show(call)
        fail(PromptRejected("Not this", charge_state="none"))(call)

    assert hire(ScriptedProvider(refuse)).run(job.id) == Failed("prompt_rejected")
    assert views.get(job.id, "default").previews == []
    assert rows_of(database, job.id) == []


def test_preview_of_an_attempt_that_was_lost_is_not_shown(
    job: Job, attempts: AttemptStore, database: Database, views: JobViews
) -> None:
    """Neither while the job waits nor beside the next attempt, which takes over its row."""
    first = claim_of(attempts, job)
    attempts.note_preview(first, stored(first))
    (row,) = rows_of(database, job.id)
    assert len(views.get(job.id, "default").previews) == 1
    database.expire_lease(job.id)
    second = claim_of(attempts, job)
    assert views.get(job.id, "default").previews == []
    with pytest.raises(UnknownPreview):
        views.get_preview(row["id"])
    with pytest.raises(LeaseLost):
        attempts.note_preview(first, stored(first))
    attempts.note_preview(second, stored(second))
    (row,) = rows_of(database, job.id)
    assert (row["token"], row["number"]) == (second.token, 2)
    assert row["storage_key"] == f"{job.id}/2/0.preview"
    attempts.forget_previews(first)
    assert len(rows_of(database, job.id)) == 1
    assert len(views.get(job.id, "default").previews) == 1


def test_late_write_of_an_old_attempt_finds_its_successors_row(
    job: Job, attempts: AttemptStore, database: Database
) -> None:
    """Where only the row of the preview knows the newer attempt: the second half of the fence."""
    claim = claim_of(attempts, job)
    attempts.note_preview(claim, stored(claim))
    database.fetch("UPDATE previews SET token = token + 1 WHERE job_id = %(id)s", id=str(job.id))
    with pytest.raises(LeaseLost):
        attempts.note_preview(claim, stored(claim))
    (row,) = rows_of(database, job.id)
    assert (row["token"], row["number"]) == (claim.token + 1, 1)


def test_lost_lease_ends_the_attempt_at_its_next_preview(
    job: Job, hire: Hire, database: Database
) -> None:
    """As at any other write; nothing of it is left."""

    def lose(call: ProviderCall) -> None:
        call.preview(preview(0))
        database.update_job(job.id, "lease_token = lease_token + 1")
        call.preview(preview(1))
        raise AssertionError("the attempt went on")

    provider = ScriptedProvider(lose)
    assert hire(provider).run(job.id) == NothingToDo("lease_lost")
    assert rows_of(database, job.id) == []
    assert database.job(job.id)["status"] == "PROCESSING"


class NoPreviews(FaultyImageStore):
    """An image store that takes no previews."""

    def __init__(self, store: DiskImageStore, error: Exception) -> None:
        super().__init__(store, failures=0)
        self._error = error
        self.asked = 0

    def put(self, storage_key: str, data: bytes, media_type: str) -> None:
        """Fail."""
        self.asked += 1
        raise self._error


@pytest.mark.parametrize(
    "error",
    [StorageUnavailable("the store is full"), ZeroDivisionError("a fault of ours")],
    ids=repr,
)
def test_store_that_takes_no_preview_fails_no_job(
    job: Job,
    hire: Hire,
    published: Published,
    image_store: DiskImageStore,
    error: Exception,
) -> None:
    """And is asked once an attempt."""
    full = NoPreviews(image_store, error)
    assert hire(ScriptedProvider(show), image_store=full).run(job.id) == Completed(0)
    assert published(job) == WHOLE_JOB
    assert full.asked == 1


class SilentPreviews(FaultyImageStore):
    """An image store that does not answer where previews are concerned, until it is let go."""

    def __init__(self, store: DiskImageStore) -> None:
        super().__init__(store, failures=0)
        self.may_answer = threading.Event()
        self.answered = threading.Event()

    def put(self, storage_key: str, data: bytes, media_type: str) -> None:
        """Answer when it is too late."""
        self.may_answer.wait(20)
        self._store.put(storage_key, data, media_type)
        self.answered.set()


def test_store_that_hangs_delays_the_job_once_and_shortly(
    job: Job, hire: Hire, database: Database, image_store: DiskImageStore
) -> None:
    """What it does later comes to nothing."""
    silent = SilentPreviews(image_store)
    started_at = time.monotonic()
    assert hire(ScriptedProvider(show), image_store=silent).run(job.id) == Completed(0)
    assert PATIENCE_SECONDS <= time.monotonic() - started_at < PATIENCE_SECONDS * 2
    silent.may_answer.set()
    assert silent.answered.wait(5)
    wait_until(lambda: not has_bytes(image_store, job), 5, "the late bytes to be deleted")
    assert rows_of(database, job.id) == []


def test_rows_that_cannot_be_written_fail_no_job(
    job: Job, hire: Hire, database: Database, image_store: DiskImageStore
) -> None:
    """Another session holds the table; the bytes are deleted all the same."""
    with database.transaction() as cursor:
        cursor.execute("LOCK TABLE previews IN ACCESS EXCLUSIVE MODE")
        assert hire(ScriptedProvider(show)).run(job.id) == Completed(0)
    assert rows_of(database, job.id) == []
    wait_until(lambda: not has_bytes(image_store, job), 5, "the bytes to be deleted")


def test_plain_job_never_asks_for_previews(job: Job, hire: Hire, database: Database) -> None:
    """The table is locked, and the attempt does not wait for it."""
    with database.transaction() as cursor:
        cursor.execute("LOCK TABLE previews IN ACCESS EXCLUSIVE MODE")
        started_at = time.monotonic()
        assert hire(ScriptedProvider()).run(job.id) == Completed(0)
        assert time.monotonic() - started_at < PATIENCE_SECONDS
