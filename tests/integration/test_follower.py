"""Following a job: replay, then live; each event once and in order, whatever breaks."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from uuid import uuid4

import pytest

from devkit.stack import EmbeddedPostgres, EmbeddedRedis
from shared.database.session import create_pooled_engine
from shared.errors import UnknownJob
from shared.events.attempt_events import AttemptEvents
from shared.events.connection import connect_redis
from shared.events.event import FROM_THE_START, Event, follows, is_of_row, row_event
from shared.events.keys import unprefixed as keys
from shared.events.publisher import EventPublisher
from shared.events.reader import READ_AT_MOST, StreamReader
from shared.generation.announce import Announcer
from shared.generation.follow import ROW_SECONDS, WAIT_SECONDS, EventFollower
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job
from shared.status import COMPLETED, QUEUED, STARTING, Ending, JobStatus, Step, rendering
from tests.conftest import TEMPLATE
from tests.support.builders import build_settings, new_job
from tests.support.channel import RedisClient
from tests.support.database import Database
from tests.support.wait import wait_until

Follow = Callable[..., "Future[list[Event]]"]
CANCELLED = Step(JobStatus.FAILED, 0, "Cancelled")


@pytest.fixture
def job(jobs: JobStore) -> Job:
    """Give a queued job."""
    return jobs.insert(new_job())


@pytest.fixture
def follow(jobs: JobStore, redis_server: EmbeddedRedis) -> Iterator[Follow]:
    """Give what follows a job to its end in a thread, with a client of its own."""
    clients: list[RedisClient] = []
    pool = ThreadPoolExecutor(24)

    def start(job: Job, after_id: str = FROM_THE_START) -> "Future[list[Event]]":
        clients.append(connect_redis(redis_server.url))
        follower = EventFollower(jobs, StreamReader(clients[-1]))
        return pool.submit(lambda: list(follower.follow(job.id, after_id=after_id)))

    yield start
    pool.shutdown()
    for client in clients:
        client.close()


@pytest.fixture
def events(publisher: EventPublisher, job: Job) -> AttemptEvents:
    """Give the events of the job's first attempt."""
    publisher.publish_waiting(job.task_id, token=0, attempt=1, max_attempts=3)
    return AttemptEvents(
        publisher, job.task_id, token=0, attempt=1, max_attempts=3, owns_job=lambda: True
    )


def end(job: Job, jobs: JobStore, publisher: EventPublisher) -> None:
    """End the job in its row, and publish the end as an attempt does."""
    ending = replace(jobs.request_cancel(job.id).ending, waited_for=0)
    Announcer(jobs, publisher).announce(ending)


def cancelled(progress: int) -> Step:
    """Return the end of a job that was cancelled after its clients had seen this progress."""
    return replace(CANCELLED, progress=progress)


def end_in_row(jobs: JobStore, job: Job) -> Event:
    """Return the last event as it is made from the row."""
    ended_at = jobs.get(job.id).finished_at
    assert ended_at is not None
    return row_event(CANCELLED, ended_at)


def listeners(redis: RedisClient) -> int:
    """Return how many wait for an event."""
    return int(redis.info("clients")["blocked_clients"])


def test_a_late_follower_gets_everything_and_then_what_comes(
    redis: RedisClient,
    publisher: EventPublisher,
    jobs: JobStore,
    job: Job,
    events: AttemptEvents,
    follow: Follow,
) -> None:
    """First what the stream holds, then live, up to the last."""
    events.publish(STARTING)
    following = follow(job)
    wait_until(lambda: listeners(redis), 5, "the follower to listen")
    events.publish(rendering(50))
    end(job, jobs, publisher)
    followed = following.result(10)
    assert [event.step for event in followed] == [QUEUED, STARTING, rendering(50), cancelled(50)]
    ids = [entry_id for entry_id, _ in redis.xrange(keys.stream(job.task_id))]
    assert [event.id for event in followed] == ids


def test_a_follower_of_an_ended_job_gets_its_whole_story(
    publisher: EventPublisher, jobs: JobStore, job: Job, events: AttemptEvents, follow: Follow
) -> None:
    """And returns, as nothing follows."""
    events.publish(STARTING)
    end(job, jobs, publisher)
    steps = [event.step for event in follow(job).result(10)]
    assert steps == [QUEUED, STARTING, cancelled(5)]


def test_a_follower_that_comes_back_goes_on_where_it_was(
    redis: RedisClient,
    publisher: EventPublisher,
    jobs: JobStore,
    job: Job,
    events: AttemptEvents,
    follow: Follow,
) -> None:
    """The id of the last event it saw is enough."""
    for progress in (30, 50, 70):
        events.publish(rendering(progress))
    end(job, jobs, publisher)
    seen, _ = redis.xrange(keys.stream(job.task_id))[2]
    steps = [event.step for event in follow(job, str(seen)).result(10)]
    assert steps == [rendering(70), cancelled(70)][-len(steps) :]
    assert len(steps) == 2


def test_twenty_followers_see_each_event_once_while_connections_are_killed(
    redis: RedisClient,
    publisher: EventPublisher,
    jobs: JobStore,
    job: Job,
    events: AttemptEvents,
    follow: Follow,
) -> None:
    """The stream forgets nothing."""
    followers = [follow(job) for _ in range(20)]
    wait_until(lambda: listeners(redis) == 20, 10, "all to listen")
    for number in range(45):
        assert events.publish(rendering(10 + number)).outcome == "appended"
        if number % 5 == 0:
            redis.client_kill_filter(_type="normal", skipme=True)
    end(job, jobs, publisher)
    published = [QUEUED, *(rendering(10 + number) for number in range(45)), cancelled(54)]
    for follower in followers:
        followed = follower.result(20)
        assert [event.step for event in followed] == published
        assert len({event.id for event in followed}) == len(published)


def test_ids_rise_up_to_an_end_that_comes_from_the_row(
    jobs: JobStore, job: Job, events: AttemptEvents, follow: Follow, database: Database
) -> None:
    """Also where the clock of PostgreSQL is behind that of Redis."""
    events.publish(STARTING)
    jobs.request_cancel(job.id)
    database.update_job(job.id, "finished_at = now() - interval '1 hour'")
    followed = follow(job).result(10)
    assert [event.step for event in followed] == [QUEUED, STARTING, CANCELLED]
    assert all(follows(after.id, before.id) for before, after in pairwise(followed))
    assert is_of_row(followed[-1].id)


def test_the_end_comes_from_the_row_when_the_stream_is_gone(
    redis: RedisClient, publisher: EventPublisher, jobs: JobStore, job: Job, follow: Follow
) -> None:
    """Redis was flushed, or the stream has expired."""
    end(job, jobs, publisher)
    redis.flushall()
    assert follow(job).result(10) == [end_in_row(jobs, job)]


def test_the_end_comes_from_the_row_when_it_was_not_published(
    redis: RedisClient, jobs: JobStore, job: Job, events: AttemptEvents, follow: Follow
) -> None:
    """Its worker died between commit and event, and no sweep has come yet."""
    events.publish(STARTING)
    following = follow(job)
    wait_until(lambda: listeners(redis), 5, "the follower to listen")
    jobs.request_cancel(job.id)
    *before, last = following.result(15)
    assert [event.step for event in before] == [QUEUED, STARTING]
    assert last == end_in_row(jobs, job)


def test_the_end_comes_from_the_row_when_redis_is_down(
    redis_server: EmbeddedRedis, jobs: JobStore, job: Job, follow: Follow
) -> None:
    """The whole time, from before the follower came."""
    redis_server.kill()
    following = follow(job)
    jobs.request_cancel(job.id)
    assert following.result(10) == [end_in_row(jobs, job)]


def test_a_follower_outlives_a_restart_of_redis(
    redis: RedisClient,
    redis_server: EmbeddedRedis,
    publisher: EventPublisher,
    jobs: JobStore,
    job: Job,
    events: AttemptEvents,
    follow: Follow,
) -> None:
    """Later events arrive, though the stream before them is lost."""
    following = follow(job)
    wait_until(lambda: listeners(redis), 5, "the follower to listen")
    redis_server.kill()
    redis_server.start()
    end(job, jobs, publisher)
    *before, last = following.result(15)
    assert last.step == CANCELLED
    assert [event.step for event in before] in ([], [QUEUED])


def test_a_follower_needs_no_database_while_redis_speaks(
    redis: RedisClient,
    publisher: EventPublisher,
    postgres: EmbeddedPostgres,
    redis_server: EmbeddedRedis,
) -> None:
    """It asks the row now and then, and goes on when there is no answer."""
    url = postgres.create_database("vanishing", template=TEMPLATE)
    engine = create_pooled_engine(build_settings(url).database_url, "vanishing-test")
    job = JobStore(engine).insert(new_job())
    with closing(connect_redis(redis_server.url)) as client, ThreadPoolExecutor(1) as pool:
        follower = EventFollower(JobStore(engine), StreamReader(client))
        following = pool.submit(lambda: list(follower.follow(job.id)))
        wait_until(lambda: listeners(redis), 5, "the follower to listen")
        postgres.drop_database("vanishing")
        asked_at = time.monotonic() + ROW_SECONDS + WAIT_SECONDS
        wait_until(lambda: time.monotonic() > asked_at, 10, "the follower to ask the row")
        ending = Ending(job.id, job.task_id, 1, COMPLETED, job.created_at)
        publisher.publish_ending(ending)
        assert [event.step for event in following.result(10)] == [COMPLETED]
    engine.dispose()


def test_entries_that_are_not_events_are_skipped(
    redis: RedisClient, publisher: EventPublisher, jobs: JobStore, job: Job, follow: Follow
) -> None:
    """However many they are: a page of them hides no event."""
    for _ in range(READ_AT_MOST + 1):
        redis.xadd(keys.stream(job.task_id), {"event": "{"})
    following = follow(job)
    end(job, jobs, publisher)
    assert [event.step for event in following.result(10)] == [CANCELLED]


def test_an_unknown_job_cannot_be_followed(jobs: JobStore, redis_server: EmbeddedRedis) -> None:
    """Nor one of another workspace; known before the first event."""
    job = jobs.insert(new_job())
    with closing(connect_redis(redis_server.url)) as client:
        follower = EventFollower(jobs, StreamReader(client))
        for arguments in ((uuid4(), None), (job.id, "other")):
            with pytest.raises(UnknownJob):
                next(follower.follow(*arguments))
