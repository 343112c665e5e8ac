"""One job through the handler while something breaks: paid once, written once, published once."""

import threading
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from devkit.stack import EmbeddedPostgres, EmbeddedRedis, private_folder
from shared.adapters.disk_images import DiskImageStore
from shared.database.session import create_pooled_engine
from shared.errors import PromptRejected, ProviderUnavailable, ServiceUnavailable
from shared.events.publisher import EventPublisher
from shared.generation.outcome import Completed, Failed, NothingToDo, Outcome, RetryAfter
from shared.imaging.provider import GeneratedImage, ProviderCall
from shared.imaging.store import ImageStore, StoredImage
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job
from tests.support.builders import (
    FaultyImageStore,
    ScriptedProvider,
    build_settings,
    fail,
    new_job,
)
from tests.support.database import Database
from tests.support.postgres_proxy import LossyProxy
from tests.support.wait import wait_until
from tests.support.worker import WHOLE_JOB, Hire, Published, Worker, ledger

BREAK_IMAGES = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON images EXECUTE FUNCTION refuse()
"""
MEND_IMAGES = "DROP TRIGGER IF EXISTS refuse ON images; DROP FUNCTION IF EXISTS refuse"


@pytest.fixture
def job(jobs: JobStore) -> Job:
    """Give a queued job for two images."""
    return jobs.insert(new_job(n=2))


@pytest.fixture
def mend_images(database: Database) -> Iterator[Callable[[], None]]:
    """Let PostgreSQL refuse the rows of images, until the value is called."""
    database.fetch(BREAK_IMAGES)

    def mend() -> None:
        database.fetch(MEND_IMAGES)

    yield mend
    mend()


class LastImageEndsProcess(FaultyImageStore):
    """An image store during whose n-th `save` the process is asked to end, once it is done."""

    def __init__(self, store: ImageStore, images: int) -> None:
        super().__init__(store, failures=0)
        self._images_left = images

    def save(self, job_id: UUID, attempt: int, image: GeneratedImage) -> StoredImage:
        """Save, then end the process if this was the last."""
        stored = super().save(job_id, attempt, image)
        self._images_left -= 1
        if self._images_left == 0:
            raise SystemExit
        return stored


def test_bytes_that_were_saved_are_not_paid_again(
    job: Job,
    hire: Hire,
    published: Published,
    database: Database,
    image_store: DiskImageStore,
) -> None:
    """The process was ended after the bytes and before the rows; the next attempt writes these."""
    provider = ScriptedProvider()
    with pytest.raises(SystemExit):
        hire(provider, image_store=LastImageEndsProcess(image_store, 2)).run(job.id)
    assert database.images(job.id) == []
    assert hire(provider).run(job.id) == Completed(0)
    assert len(provider.calls) == 1
    assert [image["storage_key"] for image in database.images(job.id)] == [
        f"{job.id}/1/0",
        f"{job.id}/1/1",
    ]
    assert ledger(database, job.id) == [(1, "lost", "unknown"), (2, "completed", "none")]
    assert published(job)[-4:] == [*WHOLE_JOB[1:3], *WHOLE_JOB[5:]]


def test_rows_that_the_database_refuses_for_a_moment_cost_no_attempt(
    job: Job,
    hire: Hire,
    database: Database,
    mend_images: Callable[[], None],
) -> None:
    """Saving to a full disk is repeated while there is time."""
    mender = threading.Timer(0.3, mend_images)
    provider = ScriptedProvider(lambda _call: mender.start())
    assert hire(provider).run(job.id) == Completed(0)
    mender.join()
    assert len(provider.calls) == 1
    assert len(database.images(job.id)) == 2


def test_a_process_that_is_ended_gives_its_job_up(job: Job, hire: Hire, database: Database) -> None:
    """During the provider call the attempt counts; the next worker need not wait."""
    with pytest.raises(SystemExit):
        hire(ScriptedProvider(fail(SystemExit()))).run(job.id)
    assert database.job(job.id)["status"] == "PROCESSING"
    provider = ScriptedProvider()
    assert hire(provider).run(job.id) == Completed(0)
    assert ledger(database, job.id) == [(1, "lost", "unknown"), (2, "completed", "charged")]


def test_an_attempt_that_was_overtaken_publishes_and_writes_nothing_more(
    job: Job,
    hire: Hire,
    published: Published,
    database: Database,
) -> None:
    """Another worker finished the job while this one was frozen."""
    other = hire(ScriptedProvider())

    def be_overtaken(_call: ProviderCall) -> None:
        database.expire_lease(job.id)
        assert other.run(job.id) == Completed(0)

    assert hire(ScriptedProvider(be_overtaken)).run(job.id) == NothingToDo("lease_lost")
    assert published(job) == [*WHOLE_JOB[:4], "pending 0 Retrying (attempt 2 of 3)", *WHOLE_JOB[1:]]
    assert [image["storage_key"] for image in database.images(job.id)] == [
        f"{job.id}/2/0",
        f"{job.id}/2/1",
    ]
    assert ledger(database, job.id) == [(1, "lost", "unknown"), (2, "completed", "charged")]


def test_an_image_store_that_is_down_for_a_moment_costs_no_attempt(
    job: Job, hire: Hire, image_store: DiskImageStore, database: Database
) -> None:
    """Saving what was paid for is repeated."""
    store = FaultyImageStore(image_store, failures=3)
    provider = ScriptedProvider()
    assert hire(provider, image_store=store).run(job.id) == Completed(0)
    assert len(provider.calls) == 1
    assert ledger(database, job.id) == [(1, "completed", "charged")]


def test_a_job_needs_no_redis(
    job: Job, hire: Hire, redis_server: EmbeddedRedis, database: Database
) -> None:
    """The row is the truth; the end is left to be announced."""
    redis_server.kill()
    assert hire(ScriptedProvider()).run(job.id) == Completed(0)
    row = database.job(job.id)
    assert (row["status"], row["announced_at"]) == ("COMPLETED", None)


@pytest.mark.parametrize(
    ("statement", "end"),
    [
        (b"status = 'COMPLETED'", Completed(0)),
        (b"status = 'FAILED'", Failed("prompt_rejected")),
        (b"next_attempt_at = now() +", RetryAfter(0)),
    ],
)
def test_a_commit_whose_answer_was_lost_is_found_done(
    job: Job,
    publisher: EventPublisher,
    image_store: DiskImageStore,
    postgres: EmbeddedPostgres,
    database: Database,
    published: Published,
    statement: bytes,
    end: Outcome,
) -> None:
    """The server closes the connection after the commit and before the answer."""
    errors = {
        Failed: fail(PromptRejected("No")),
        RetryAfter: fail(ProviderUnavailable("No")),
        Completed: lambda _call: None,
    }
    with private_folder() as folder, LossyProxy(postgres.folder, folder, statement) as proxy:
        url = build_settings(database.url.replace(str(postgres.folder), str(folder))).database_url
        engine = create_pooled_engine(url, "lossy-test")
        provider = ScriptedProvider(errors[type(end)])
        assert Worker(engine, publisher, provider, image_store).run(job.id) == end
        assert proxy.has_lost_answer.is_set()
        engine.dispose()
    assert len(provider.calls) == 1
    assert len(database.attempts(job.id)) == 1
    assert len(database.images(job.id)) == (2 if end == Completed(0) else 0)
    assert len(published(job)) == len(set(published(job)))


def test_a_claim_whose_answer_was_lost_is_left_to_the_sweep(
    job: Job,
    publisher: EventPublisher,
    image_store: DiskImageStore,
    postgres: EmbeddedPostgres,
    database: Database,
) -> None:
    """No worker knows of the claim; the runtime repeats the delivery, and is refused."""
    with private_folder() as folder, LossyProxy(postgres.folder, folder, b"claimed") as proxy:
        url = build_settings(database.url.replace(str(postgres.folder), str(folder))).database_url
        engine = create_pooled_engine(url, "lossy-test")
        worker = Worker(engine, publisher, ScriptedProvider(), image_store)
        with pytest.raises(ServiceUnavailable):
            worker.run(job.id)
        assert proxy.has_lost_answer.is_set()
        assert worker.run(job.id) == NothingToDo("running")
        engine.dispose()
    database.expire_lease(job.id)
    assert database.job(job.id)["attempt"] == 1


def test_a_lease_is_kept_through_an_unforeseen_error(
    job: Job, hire: Hire, database: Database
) -> None:
    """One extension that breaks does not end the keeping."""
    database.fetch(
        "CREATE SEQUENCE faults;"
        "CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF OLD.lease_until <> NEW.lease_until AND nextval('faults') = 1"
        " THEN RAISE EXCEPTION 'unforeseen'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER stumble BEFORE UPDATE ON generation_jobs"
        " FOR EACH ROW EXECUTE FUNCTION stumble()"
    )

    def outlast_fault(_call: ProviderCall) -> None:
        first = database.job(job.id)["lease_until"]
        wait_until(lambda: database.job(job.id)["lease_until"] > first, 5, "the next extension")

    try:
        worker = hire(ScriptedProvider(outlast_fault), lease_seconds=1.2)
        assert worker.run(job.id) == Completed(0)
        assert database.fetch("SELECT last_value FROM faults")[0]["last_value"] >= 2
    finally:
        database.fetch(
            "DROP TRIGGER stumble ON generation_jobs; DROP FUNCTION stumble; DROP SEQUENCE faults"
        )


def test_a_database_that_is_down_at_the_claim_is_reported_to_the_runtime(
    job: Job, hire: Hire, database: Database
) -> None:
    """Nothing has happened yet, so the envelope is delivered again."""
    with database.transaction() as cursor:
        cursor.execute("SELECT 1 FROM generation_jobs WHERE id = %s FOR UPDATE", (str(job.id),))
        with pytest.raises(ServiceUnavailable):
            hire(ScriptedProvider()).run(job.id)
    assert database.attempts(job.id) == []
