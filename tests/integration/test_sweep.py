"""The sweep, on real servers: what workers, publishers and dispatchers left undone is finished."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine

from devkit.stack import EmbeddedRedis
from shared.adapters.disk_images import DiskImageStore
from shared.breaker import PAUSE_SECONDS
from shared.events.attempt_events import AttemptEvents
from shared.events.event import parse_event
from shared.events.keys import unprefixed as keys
from shared.events.publisher import EventPublisher
from shared.generation.announce import Announcer
from shared.generation.release import Releaser
from shared.generation.saved_images import SavedImages
from shared.generation.submit import Submitter
from shared.generation.sweep import BATCH, Sweeper, SweepReport
from shared.imaging.request import GenerationRequest
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim
from shared.jobs.recovery_store import RecoveryStore
from shared.jobs.release_store import ReleaseStore
from shared.status import QUEUED, JobStatus, Step, rendering, waiting
from tests.support.builders import ListDispatcher, build_settings, new_job
from tests.support.channel import RedisClient
from tests.support.database import Database
from tests.support.wait import wait_until

NOTHING = SweepReport(0, 0, 0, 0)


@pytest.fixture
def dispatcher() -> ListDispatcher:
    """Give a dispatcher that keeps what it was given."""
    return ListDispatcher()


@pytest.fixture
def sweeper(
    engine: Engine,
    publisher: EventPublisher,
    dispatcher: ListDispatcher,
    jobs: JobStore,
    releases: ReleaseStore,
    tmp_path: Path,
) -> Sweeper:
    """Give the sweep."""
    return Sweeper(
        RecoveryStore(engine),
        publisher,
        Announcer(jobs, publisher),
        Releaser(releases, dispatcher),
        SavedImages(lambda: DiskImageStore(tmp_path), RecoveryStore(engine)),
        time_limit_seconds=100,
    )


@pytest.fixture
def submit(
    jobs: JobStore, publisher: EventPublisher, dispatcher: ListDispatcher, releases: ReleaseStore
) -> Callable[[], UUID]:
    """Give what submits a job."""
    submitter = Submitter(
        jobs,
        publisher,
        Releaser(releases, dispatcher),
        max_attempts=3,
        models=build_settings().models,
    )
    return lambda: submitter.submit(GenerationRequest(prompt="a mug")).id


@pytest.fixture
def running(jobs: JobStore, attempts: AttemptStore, publisher: EventPublisher) -> Claim:
    """Give a job in its first attempt, at 70."""
    claim = attempts.claim(jobs.insert(new_job()).id)
    assert isinstance(claim, Claim)
    events = AttemptEvents(
        publisher,
        claim.task_id,
        token=claim.token,
        attempt=1,
        max_attempts=3,
        owns_job=lambda: True,
    )
    events.publish(rendering(70))
    return claim


def steps(redis: RedisClient, task_id: str) -> list[Step]:
    """Return what the stream of a job holds."""
    entries = redis.xrange(keys.stream(task_id))
    return [parse_event(str(entry_id), fields["event"]).step for entry_id, fields in entries]


def test_where_nothing_is_left_undone_a_sweep_does_nothing(
    sweeper: Sweeper, submit: Callable[[], UUID], dispatcher: ListDispatcher
) -> None:
    """A job on its way is left alone."""
    submit()
    assert sweeper.sweep() == NOTHING
    assert sweeper.sweep().is_empty
    assert len(dispatcher.sent) == 1


def test_a_job_whose_dispatch_failed_is_dispatched_by_the_sweep(
    sweeper: Sweeper,
    submit: Callable[[], UUID],
    dispatcher: ListDispatcher,
    database: Database,
) -> None:
    """Accepted means never lost. Envelopes that were refused do not count as sent."""
    dispatcher.is_down = True
    job_id = submit()
    assert sweeper.sweep() == NOTHING
    assert (database.job(job_id)["dispatched_at"], database.job(job_id)["dispatches"]) == (None, 0)
    dispatcher.is_down = False
    wait_until(lambda: sweeper.sweep().dispatched, PAUSE_SECONDS + 5, "the next try")
    assert dispatcher.sent == [(job_id, database.job(job_id)["envelope_id"])]
    assert sweeper.sweep() == NOTHING


def test_an_unavailable_queue_is_asked_once_and_delays_no_announcement(
    sweeper: Sweeper,
    submit: Callable[[], UUID],
    dispatcher: ListDispatcher,
    jobs: JobStore,
    database: Database,
) -> None:
    """Each failure takes its time, and the sweep of a function has a minute."""
    dispatcher.is_down = True
    waiting_ids = [submit() for _ in range(3)]
    ended = jobs.request_cancel(jobs.insert(new_job()).id)
    database.update_job(ended.id, "finished_at = now() - interval '1 minute'")
    dispatcher.asked = 0
    assert sweeper.sweep() == SweepReport(0, 0, 0, 1)
    assert dispatcher.asked == 1
    assert {str(database.job(job_id)["dispatched_at"]) for job_id in waiting_ids} == {"None"}
    dispatcher.is_down = False
    wait_until(
        lambda: sweeper.sweep() == SweepReport(0, 0, 3, 0), PAUSE_SECONDS + 5, "the next try"
    )


def test_an_envelope_that_the_queue_has_lost_is_replaced(
    sweeper: Sweeper, submit: Callable[[], UUID], dispatcher: ListDispatcher, database: Database
) -> None:
    """After seconds, not after a grace period; one that is still there is left alone."""
    lost, kept = submit(), submit()
    dispatcher.lost = {lost, kept}
    assert sweeper.sweep() == NOTHING
    for job_id in (lost, kept):
        database.update_job(job_id, "dispatched_at = now() - interval '3 seconds'")
    dispatcher.lost = {lost}
    assert sweeper.sweep() == SweepReport(0, 0, 1, 0)
    assert [job_id for job_id, _ in dispatcher.sent] == [lost, kept, lost]
    assert len({envelope_id for _, envelope_id in dispatcher.sent}) == 3


def test_a_bare_row_is_dispatched(
    sweeper: Sweeper, dispatcher: ListDispatcher, database: Database
) -> None:
    """A foreign producer's, or of a submission that died after its commit."""
    job_id, _ = database.insert_job()
    assert sweeper.sweep() == SweepReport(0, 0, 1, 0)
    assert [sent[0] for sent in dispatcher.sent] == [job_id]


def test_a_lost_job_is_revived_and_dispatched_in_one_sweep(
    sweeper: Sweeper,
    running: Claim,
    dispatcher: ListDispatcher,
    database: Database,
    redis: RedisClient,
) -> None:
    """Followers learn that it waits for its next attempt."""
    database.expire_lease(running.job_id)
    assert sweeper.sweep() == SweepReport(1, 0, 1, 0)
    assert [sent[0] for sent in dispatcher.sent] == [running.job_id]
    assert steps(redis, running.task_id) == [QUEUED, rendering(70), waiting(2, 3)]
    assert sweeper.sweep() == NOTHING


def test_a_job_at_its_time_limit_is_ended_with_the_progress_that_was_seen(
    sweeper: Sweeper, running: Claim, database: Database, redis: RedisClient, jobs: JobStore
) -> None:
    """The row lags behind the events, and the end must not fall back."""
    database.reach_time_limit(running.job_id)
    assert sweeper.sweep() == SweepReport(0, 1, 0, 0)
    last = Step(JobStatus.FAILED, 70, "Killed at the time limit of 100 s")
    assert jobs.get(running.job_id).step == last
    assert steps(redis, running.task_id)[-1] == last
    assert jobs.get(running.job_id).announced_at is not None


def test_an_end_that_was_not_announced_is_announced_once(
    sweeper: Sweeper,
    jobs: JobStore,
    database: Database,
    redis: RedisClient,
    redis_server: EmbeddedRedis,
) -> None:
    """Also when Redis comes back only after a sweep has tried; what it missed comes first."""
    job = jobs.request_cancel(jobs.insert(new_job()).id)
    database.update_job(job.id, "finished_at = now() - interval '5 seconds'")
    redis_server.kill()
    assert sweeper.sweep() == NOTHING
    redis_server.start()
    reports = [sweeper.sweep()]
    while reports[-1] == NOTHING:
        reports.append(sweeper.sweep())
    assert reports[-1] == SweepReport(0, 0, 0, 1)
    assert sweeper.sweep() == NOTHING
    assert steps(redis, job.task_id) == [QUEUED, Step(JobStatus.FAILED, 0, "Cancelled")]


def test_the_job_of_a_dead_child_is_revived_at_once(
    sweeper: Sweeper, running: Claim, dispatcher: ListDispatcher, redis: RedisClient
) -> None:
    """Celery's parent saw it die: the next attempt is dispatched at once."""
    sweeper.recover_of_dead_worker(running.job_id, "host:1", at_time_limit=False)
    assert [sent[0] for sent in dispatcher.sent] == [running.job_id]
    assert steps(redis, running.task_id)[-1] == waiting(2, 3)


def test_the_job_of_a_child_that_was_killed_at_its_limit_ends(
    sweeper: Sweeper, running: Claim, jobs: JobStore, redis: RedisClient
) -> None:
    """Its lease is live, but the parent knows."""
    sweeper.recover_of_dead_worker(running.job_id, "host:1", at_time_limit=True)
    error = jobs.get(running.job_id).error
    assert error is not None
    assert error["code"] == "time_limit"
    assert steps(redis, running.task_id)[-1].status is JobStatus.FAILED


def test_a_child_that_died_before_its_claim_took_only_the_envelope(
    sweeper: Sweeper, submit: Callable[[], UUID], dispatcher: ListDispatcher
) -> None:
    """The broker has acknowledged it, so another is sent."""
    job_id = submit()
    sweeper.recover_of_dead_worker(job_id, "host:1", at_time_limit=False)
    assert [sent[0] for sent in dispatcher.sent] == [job_id, job_id]


def test_several_sweeps_at_once_do_everything_once(
    sweeper: Sweeper,
    jobs: JobStore,
    attempts: AttemptStore,
    dispatcher: ListDispatcher,
    database: Database,
) -> None:
    """Every worker of a fleet sweeps."""
    lost = []
    for _ in range(6):
        claim = attempts.claim(jobs.insert(new_job()).id)
        assert isinstance(claim, Claim)
        database.expire_lease(claim.job_id)
        lost.append(claim.job_id)
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _number: sweeper.sweep(), range(3)))
    assert sum(report.revived for report in reports) == 6
    assert sum(report.dispatched for report in reports) == 6
    assert sorted(sent[0] for sent in dispatcher.sent) == sorted(lost)


def test_a_sweep_works_until_nothing_is_left(
    sweeper: Sweeper, jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    """However much it is: those after a loss of many machines wait for no second sweep."""
    for _ in range(BATCH + 5):
        assert isinstance(attempts.claim(jobs.insert(new_job()).id), Claim)
        ended = jobs.request_cancel(jobs.insert(new_job()).id)
        database.update_job(ended.id, "finished_at = now() - interval '1 minute'")
    database.fetch(
        "UPDATE generation_jobs SET lease_until = now() - interval '1 second'"
        " WHERE status = 'PROCESSING'"
    )
    report = sweeper.sweep()
    assert (report.revived, report.announced, report.skipped) == (BATCH + 5, BATCH + 5, 0)


def test_cancelling_publishes_the_end(
    jobs: JobStore,
    running: Claim,
    publisher: EventPublisher,
    redis: RedisClient,
    submit: Callable[[], UUID],
) -> None:
    """A queued job ends at once; a running one is noted where its next event looks."""
    canceller = Announcer(jobs, publisher)
    queued = canceller.cancel(submit())
    assert steps(redis, queued.task_id) == [QUEUED, Step(JobStatus.FAILED, 0, "Cancelled")]
    assert jobs.get(queued.id).announced_at is not None
    assert canceller.cancel(queued.id).status is JobStatus.FAILED
    assert len(steps(redis, queued.task_id)) == 2
    assert canceller.cancel(running.job_id).status is JobStatus.PROCESSING
    assert redis.hget(keys.fence(running.task_id), "cancel") == "1"
