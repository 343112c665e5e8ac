"""One job through the handler, on real servers, with a scripted provider."""

import errno
import socket
from uuid import uuid4

import pytest

from shared.adapters.disk_images import DiskImageStore
from shared.errors import (
    MalformedEnvelope,
    PromptRejected,
    ProviderUnavailable,
    RateLimited,
    UnknownJob,
)
from shared.events.keys import unprefixed as keys
from shared.generation.announce import Announcer
from shared.generation.outcome import Completed, Failed, NothingToDo, RetryAfter
from shared.imaging.provider import ProviderCall
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job
from tests.support.builders import LateProvider, ScriptedProvider, fail, new_job
from tests.support.channel import RedisClient
from tests.support.database import Database
from tests.support.wait import wait_until
from tests.support.worker import WHOLE_JOB, Hire, Published, RuntimeLimit, ledger


@pytest.fixture
def job(jobs: JobStore) -> Job:
    """Give a queued job for two images."""
    return jobs.insert(new_job(n=2))


def test_a_job_runs_from_claim_to_end(
    job: Job,
    hire: Hire,
    published: Published,
    database: Database,
    image_store: DiskImageStore,
) -> None:
    """Events, rows and bytes are all there, and a late duplicate changes nothing."""
    provider = ScriptedProvider()
    worker = hire(provider)
    assert worker.run(job.id) == Completed(0)
    assert published(job) == WHOLE_JOB
    row, images = database.job(job.id), database.images(job.id)
    assert row["announced_at"] is not None
    assert [image["position"] for image in images] == [0, 1]
    assert [image["url"] for image in images] == [f"/v1/images/{image['id']}" for image in images]
    assert [image["storage_key"] for image in images] == [f"{job.id}/1/0", f"{job.id}/1/1"]
    assert [image["id"] for image in row["result"]["images"]] == [str(i["id"]) for i in images]
    assert row["result"]["missing"] == 0
    assert image_store.load(images[1]["storage_key"]).endswith(b"\x01")
    assert ledger(database, job.id) == [(1, "completed", "charged")]
    assert worker.run(job.id) == NothingToDo("ended")
    assert len(provider.calls) == 1
    assert published(job) == WHOLE_JOB


def test_a_transient_error_leads_to_another_attempt(
    job: Job, hire: Hire, published: Published, database: Database
) -> None:
    """And then to the end."""
    error = ProviderUnavailable("Away", charge_state="none", provider_code="503")
    worker = hire(ScriptedProvider(fail(error)))
    assert worker.run(job.id) == RetryAfter(0)
    assert database.job(job.id)["error"]["provider_code"] == "503"
    assert worker.run(job.id) == Completed(0)
    assert published(job) == [
        *WHOLE_JOB[:4],
        "pending 0 Retrying (attempt 2 of 3)",
        *WHOLE_JOB[1:],
    ]
    assert ledger(database, job.id) == [(1, "failed", "none"), (2, "completed", "charged")]


def test_the_wait_that_a_provider_asks_for_is_kept(job: Job, hire: Hire) -> None:
    """An envelope that comes too early is refused with the time that is left."""
    worker = hire(ScriptedProvider(fail(RateLimited("Slow down", retry_after_seconds=60))))
    assert worker.run(job.id) == RetryAfter(60)
    early = worker.run(job.id)
    assert isinstance(early, RetryAfter)
    assert 50 < early.seconds <= 60


def test_after_the_last_attempt_the_last_error_stands(
    jobs: JobStore, hire: Hire, published: Published
) -> None:
    """With the progress that was reached."""
    job = jobs.insert(new_job(max_attempts=2))
    worker = hire(ScriptedProvider(*(fail(ProviderUnavailable(f"No {n}")) for n in (1, 2))))
    assert worker.run(job.id) == RetryAfter(0)
    assert worker.run(job.id) == Failed("provider_unavailable")
    ended = jobs.get(job.id)
    assert ended.error is not None
    assert (ended.error["message"], ended.error["attempt"]) == ("No 2", 2)
    assert published(job)[-1] == "failed 50 No 2"


def test_a_permanent_error_ends_the_job(
    job: Job, hire: Hire, published: Published, database: Database
) -> None:
    """At once; what is known of the bill stands in the ledger."""
    worker = hire(ScriptedProvider(fail(PromptRejected("Not this", charge_state="none"))))
    assert worker.run(job.id) == Failed("prompt_rejected")
    assert published(job)[-1] == "failed 50 Not this"
    assert ledger(database, job.id) == [(1, "failed", "none")]


def test_params_that_no_attempt_could_serve_end_the_job(hire: Hire, database: Database) -> None:
    """A foreign producer wrote them; the provider is not called."""
    job_id, _ = database.insert_job(params='{"prompt": "a mug", "n": 99}')
    provider = ScriptedProvider()
    assert hire(provider).run(job_id) == Failed("invalid_request")
    assert not provider.calls
    assert ledger(database, job_id) == [(1, "failed", "none")]


def test_an_error_with_text_that_no_database_keeps_still_ends_the_job(
    job: Job, hire: Hire, database: Database
) -> None:
    """A provider's message is anything at all."""
    error = PromptRejected("bad \x00 \ud800 text", provider_code="\x00")
    assert hire(ScriptedProvider(fail(error))).run(job.id) == Failed("prompt_rejected")
    assert database.job(job.id)["message"] == "bad text"


def test_an_unexpected_error_shows_no_secret(
    job: Job, hire: Hire, database: Database, redis: RedisClient
) -> None:
    """Its class is shown; its text goes into the log only."""
    worker = hire(ScriptedProvider(fail(KeyError("s3cret"))))
    assert worker.run(job.id) == Failed("internal")
    row = database.job(job.id)
    assert row["message"] == "Internal error (KeyError)"
    assert ledger(database, job.id) == [(1, "failed", "unknown")]
    assert "s3cret" not in f"{row} {database.attempts(job.id)}"
    assert "s3cret" not in str([redis.xrange(keys.stream(job.task_id))])
    assert "s3cret" not in str(redis.get(keys.celery_record(job.task_id)))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionResetError(), "provider_unavailable"),
        (TimeoutError(), "provider_unavailable"),
        (socket.gaierror(-2, "Name or service not known"), "provider_unavailable"),
        (OSError(errno.ENOSPC, "No space left on device"), "internal"),
        (PermissionError(errno.EACCES, "Permission denied"), "internal"),
    ],
)
def test_only_errors_of_the_network_are_the_providers(
    job: Job, hire: Hire, database: Database, error: OSError, code: str
) -> None:
    """A full disk of this machine is not: another attempt would not find it better."""
    outcome = hire(ScriptedProvider(fail(error))).run(job.id)
    row = database.job(job.id)
    assert row["error"]["code"] == code
    assert isinstance(outcome, RetryAfter if code == "provider_unavailable" else Failed)


def test_the_soft_limit_of_the_runtime_ends_the_job(
    job: Job, hire: Hire, database: Database
) -> None:
    """Whatever class of error the runtime raises for it; there is no retry."""
    worker = hire(ScriptedProvider(fail(RuntimeLimit())))
    assert worker.run(job.id, soft_limit_seconds=20) == Failed("soft_time_limit")
    assert database.job(job.id)["message"] == "Stopped at the soft time limit of 20 s"


def test_the_deadline_ends_a_job_at_its_next_step(job: Job, hire: Hire) -> None:
    """Without any signal."""

    def outlast(call: ProviderCall) -> None:
        wait_until(lambda: not call.deadline.remaining_seconds(), 10, "the deadline")

    provider = ScriptedProvider(outlast)
    assert hire(provider).run(job.id, soft_limit_seconds=0.3) == Failed("soft_time_limit")


def test_only_the_missing_images_are_asked_for_again(
    jobs: JobStore, hire: Hire, database: Database
) -> None:
    """Those that came are kept, each under the attempt that made it."""
    job = jobs.insert(new_job(n=3))
    provider = ScriptedProvider(makes=(1, 1))
    worker = hire(provider)
    assert worker.run(job.id) == RetryAfter(0)
    assert worker.run(job.id) == RetryAfter(0)
    assert worker.run(job.id) == Completed(0)
    assert [call.positions for call in provider.calls] == [(0, 1, 2), (1, 2), (2,)]
    assert [call.attempt for call in provider.calls] == [1, 2, 3]
    stored = [image["storage_key"] for image in database.images(job.id)]
    assert stored == [f"{job.id}/{attempt}/{attempt - 1}" for attempt in (1, 2, 3)]


def test_a_job_completes_with_images_missing_after_its_last_attempt(
    jobs: JobStore, hire: Hire, database: Database
) -> None:
    """What there is, is delivered; the ledger says why there is no more."""
    job = jobs.insert(new_job(n=2, max_attempts=2))
    worker = hire(ScriptedProvider(fail(ProviderUnavailable("x")), makes=(0, 1)))
    assert worker.run(job.id) == RetryAfter(0)
    assert worker.run(job.id) == Completed(1)
    row = database.job(job.id)
    assert row["result"]["missing"] == 1
    assert [image["position"] for image in database.images(job.id)] == [0]
    assert database.attempts(job.id)[1]["error"]["code"] == "images_missing"


def test_a_worker_that_is_stopping_hands_the_job_back_unpaid(
    job: Job, hire: Hire, published: Published, database: Database
) -> None:
    """The attempt does not count, and the next worker begins it anew."""
    provider = ScriptedProvider()
    assert hire(provider, is_stopping=lambda: True).run(job.id) == RetryAfter(0)
    assert not provider.calls
    row = database.job(job.id)
    assert (row["status"], row["attempt"], row["started_at"]) == ("PENDING", 0, None)
    assert database.attempts(job.id) == []
    assert hire(provider).run(job.id) == Completed(0)
    assert published(job) == [*WHOLE_JOB[:3], *WHOLE_JOB]


def test_cancelling_between_two_steps_ends_the_job(
    job: Job,
    hire: Hire,
    canceller: Announcer,
    published: Published,
) -> None:
    """The next event brings the request back from Redis."""

    def cancel(_call: ProviderCall) -> None:
        canceller.cancel(job.id)

    worker = hire(ScriptedProvider(cancel))
    assert worker.run(job.id) == Failed("cancelled")
    assert published(job)[-2:] == ["processing 90 Rendering...", "failed 90 Cancelled"]


def test_cancelling_without_redis_is_found_by_the_lease(
    job: Job, hire: Hire, jobs: JobStore
) -> None:
    """The row says so at the next extension."""

    def wait_for_keeper(call: ProviderCall) -> None:
        jobs.request_cancel(job.id)
        wait_until(lambda: stopped(call), 10, "the lease to be extended")

    def stopped(call: ProviderCall) -> bool:
        call.step(0.5)
        return False

    worker = hire(ScriptedProvider(wait_for_keeper), lease_seconds=0.4)
    assert worker.run(job.id) == Failed("cancelled")


def test_a_cancelled_job_is_not_tried_again(job: Job, hire: Hire, jobs: JobStore) -> None:
    """The provider failed, and the request had come in the meantime."""

    def cancel_and_fail(_call: ProviderCall) -> None:
        jobs.request_cancel(job.id)
        raise ProviderUnavailable("x")

    assert hire(ScriptedProvider(cancel_and_fail)).run(job.id) == Failed("cancelled")


def test_images_that_were_paid_for_are_kept_although_the_job_is_cancelled(
    job: Job, hire: Hire, canceller: Announcer, image_store: DiskImageStore
) -> None:
    """The bytes are saved before the request takes effect; their rows follow."""
    worker = hire(LateProvider(lambda: canceller.cancel(job.id)))
    assert worker.run(job.id) == Completed(0)
    assert len(image_store.find_saved(job.id)) == 2


@pytest.mark.parametrize("envelope", ["", "x", "123", "{}", "a" * 1000])
def test_what_is_no_job_id_is_refused(hire: Hire, envelope: str) -> None:
    """Before anything is asked of a server."""
    with pytest.raises(MalformedEnvelope) as caught:
        hire(ScriptedProvider()).run(envelope)
    assert len(str(caught.value)) < 120


def test_an_unknown_job_is_refused(hire: Hire) -> None:
    """Its envelope is not ours."""
    with pytest.raises(UnknownJob):
        hire(ScriptedProvider()).run(uuid4())
