"""Events on their way into Redis: one atomic step each, in order, fenced, none twice."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from devkit.stack import EmbeddedRedis
from shared.breaker import PAUSE_SECONDS
from shared.events.attempt_events import BACKLOG_EVENTS, AttemptEvents
from shared.events.connection import connect_redis
from shared.events.event import parse_event
from shared.events.keys import unprefixed as keys
from shared.events.publisher import EventPublisher
from shared.status import (
    COMPLETED,
    QUEUED,
    SAVING,
    STARTING,
    Ending,
    Step,
    failed,
    rendering,
    waiting,
)
from tests.support.channel import ChannelReader, RedisClient
from tests.support.wait import wait_until

TASK = "task-1"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEYS = {keys.stream(TASK), keys.fence(TASK), keys.celery_record(TASK)}
FROZEN_SECONDS = 5.0
"""Two tries of a second each, and what a busy machine adds."""


def attempt_events(
    publisher: EventPublisher, token: int = 1, attempt: int = 1, *, is_owner: bool = False
) -> AttemptEvents:
    """Return the events of an attempt of the job, which owns it or not, as its row says."""
    return AttemptEvents(
        publisher,
        TASK,
        token=token,
        attempt=attempt,
        max_attempts=3,
        owns_job=lambda: is_owner,
    )


def ending(token: int = 9, step: Step = COMPLETED, code: str = "") -> Ending:
    """Return the end of the job."""
    return Ending(UUID(int=1), TASK, token, step, NOW, ("/v1/images/a",), code)


def steps(redis: RedisClient) -> list[Step]:
    """Return what the stream holds."""
    return [
        parse_event(id_, fields["event"]).step for id_, fields in redis.xrange(keys.stream(TASK))
    ]


def record(redis: RedisClient) -> dict[str, object] | None:
    """Return the result record."""
    data = redis.get(keys.celery_record(TASK))
    return None if data is None else json.loads(str(data))


def test_a_whole_job_is_published_in_order(redis: RedisClient, publisher: EventPublisher) -> None:
    """Channel and stream say the same, byte for byte; entry ids rise."""
    with ChannelReader(redis, keys.channel(TASK)) as reader:
        publisher.publish_waiting(TASK, token=0, attempt=1, max_attempts=3)
        events = attempt_events(publisher)
        published = [STARTING, rendering(30), SAVING]
        assert [events.publish(step).outcome for step in published] == ["appended"] * 3
        assert publisher.publish_ending(ending()).outcome == "appended"
        messages = reader.read(5)
    entries = redis.xrange(keys.stream(TASK))
    assert messages == [fields["event"] for _, fields in entries]
    assert messages == [step.as_json() for step in (QUEUED, *published, COMPLETED)]
    assert messages[1] == '{"status": "processing", "progress": 5, "message": "Starting..."}'
    ids = [tuple(map(int, entry_id.split("-"))) for entry_id, _ in entries]
    assert ids == sorted(set(ids))


def test_the_record_follows_the_events(redis: RedisClient, publisher: EventPublisher) -> None:
    """None while the job is queued, then its steps, at last its end; published as it changes."""
    with ChannelReader(redis, keys.celery_record(TASK)) as reader:
        publisher.publish_waiting(TASK, token=0, attempt=1, max_attempts=3)
        assert record(redis) is None
        events = attempt_events(publisher)
        events.publish(STARTING)
        assert record(redis) == json.loads(reader.read(1)[0])
        events.publish_waiting(2)
        waits = record(redis)
        assert waits is not None
        assert (waits["status"], waits["result"]) == ("PROCESSING", waiting(2, 3).as_dict())
        publisher.publish_ending(ending(step=failed(5, "No luck"), code="internal"))
        assert record(redis) == json.loads(reader.read(3)[2])
    end = record(redis)
    assert end is not None
    assert end["status"] == "FAILURE"


@pytest.mark.parametrize("write", ["waiting", "running", "last", "cancel"])
def test_every_key_has_a_time_to_live_after_every_write(
    redis: RedisClient, publisher: EventPublisher, write: str
) -> None:
    """Whatever was written last, nothing of a job stays for ever."""
    for _ in range(2):
        if write == "waiting":
            publisher.publish_waiting(TASK, token=0, attempt=1, max_attempts=3)
        elif write == "running":
            attempt_events(publisher).publish(STARTING)
        elif write == "last":
            publisher.publish_ending(ending())
        else:
            publisher.request_cancel(TASK)
        left = {str(key): redis.ttl(str(key)) for key in redis.keys("*")}
        assert set(left) <= KEYS
        assert all(50 <= seconds <= 60 for seconds in left.values()), left
    assert redis.exists(keys.fence(TASK))


def test_an_event_renews_the_time_to_live(redis: RedisClient, publisher: EventPublisher) -> None:
    """The keys live as long as the job does, and then for the whole time."""
    events = attempt_events(publisher)
    events.publish(STARTING)
    for key in KEYS:
        redis.expire(key, 5)
    events.publish(rendering(30))
    assert all(redis.ttl(key) > 50 for key in KEYS)


def test_a_stream_is_bounded(redis: RedisClient, publisher: EventPublisher) -> None:
    """Redis trims in whole blocks of a hundred, so the bound is not exact."""
    events = attempt_events(publisher)
    for _ in range(400):
        events.publish(rendering(50))
    assert redis.xlen(keys.stream(TASK)) <= 50 + 100


def test_a_repeated_event_is_appended_once(redis: RedisClient, publisher: EventPublisher) -> None:
    """redis-py itself repeats what it got no answer to."""
    first = attempt_events(publisher)
    first.publish(STARTING)
    assert attempt_events(publisher).publish(STARTING).outcome == "repeated"
    assert steps(redis) == [QUEUED, STARTING]


def test_an_outdated_attempt_publishes_nothing(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """Its lease was lost: events, waits and record stay those of the newer attempt."""
    old, new = attempt_events(publisher), attempt_events(publisher, token=2, attempt=2)
    old.publish(STARTING)
    new.publish(STARTING)
    before = steps(redis), record(redis)
    for delivery in (
        old.publish(rendering(90)),
        old.publish_waiting(3),
        old.publish_released(),
        publisher.publish_waiting(TASK, token=1, attempt=9, max_attempts=9),
    ):
        assert delivery.outcome == "fenced"
    assert (steps(redis), record(redis)) == before


def test_nothing_follows_the_end(redis: RedisClient, publisher: EventPublisher) -> None:
    """Not even from a holder of a newer token: its attempt goes on in silence, if it is one."""
    publisher.publish_ending(ending(token=3))
    before = steps(redis), record(redis)
    for is_owner, outcome in ((False, "fenced"), (True, "repeated")):
        newer = attempt_events(publisher, token=9, attempt=3, is_owner=is_owner)
        assert newer.publish(STARTING).outcome == outcome
        assert newer.publish_waiting(4).outcome == newer.publish_released().outcome == "ended"
    assert (steps(redis), record(redis)) == before


def test_the_end_is_published_once_by_two_processes(
    redis: RedisClient, redis_server: EmbeddedRedis
) -> None:
    """The worker that ended the job, and a sweep that found it unannounced."""

    def announce(_number: int) -> str:
        with closing(connect_redis(redis_server.url)) as client:
            publisher = EventPublisher(client, ttl_seconds=60, stream_length=50)
            return publisher.publish_ending(ending()).outcome

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(announce, range(4)))
    assert outcomes == ["appended", "ended", "ended", "ended"]
    assert steps(redis) == [COMPLETED]


def test_waiting_is_published_once_an_attempt(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """By submission, by the worker that failed, or by the sweep: the first one counts."""
    for token, attempt in ((0, 1), (0, 1), (5, 1), (5, 2), (6, 2), (6, 1)):
        publisher.publish_waiting(TASK, token=token, attempt=attempt, max_attempts=3)
    assert steps(redis) == [QUEUED, waiting(2, 3)]


def test_a_sweep_publishes_the_wait_that_a_worker_could_not(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """It died between the commit of the retry and its event: the token is still the same."""
    events = attempt_events(publisher)
    events.publish(STARTING)
    publisher.publish_waiting(TASK, token=1, attempt=2, max_attempts=3)
    assert steps(redis) == [QUEUED, STARTING, waiting(2, 3)]
    assert events.publish(rendering(30)).outcome == "fenced"
    assert events.publish_waiting(2).outcome == "repeated"
    attempt_events(publisher, token=2, attempt=2).publish(STARTING)
    assert steps(redis) == [QUEUED, STARTING, waiting(2, 3), STARTING]


def test_an_attempt_publishes_the_wait_before_it_if_it_is_missing(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """A job that was inserted by hand, or whose worker died between commit and event."""
    attempt_events(publisher).publish(STARTING)
    attempt_events(publisher, token=2, attempt=2).publish(STARTING)
    assert steps(redis) == [QUEUED, STARTING, waiting(2, 3), STARTING]


def test_the_end_publishes_the_wait_before_it_if_it_is_missing(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """A job revived while Redis was down, and then cancelled: its progress falls only there."""
    events = attempt_events(publisher)
    events.publish(STARTING)
    events.publish(SAVING)
    waited = replace(ending(2, failed(0, "Cancelled"), "cancelled"), waited_for=2, max_attempts=3)
    publisher.publish_ending(waited)
    published = [waiting(1, 3), STARTING, SAVING, waiting(2, 3), failed(0, "Cancelled")]
    assert steps(redis) == published


def test_the_end_does_not_repeat_a_wait_that_was_published(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """The plain way of a job that is cancelled in the queue."""
    publisher.publish_waiting(TASK, token=0, attempt=1, max_attempts=3)
    waited = replace(ending(1, failed(0, "Cancelled"), "cancelled"), waited_for=1, max_attempts=3)
    publisher.publish_ending(waited)
    assert steps(redis) == [QUEUED, failed(0, "Cancelled")]


def test_a_released_attempt_waits_again(redis: RedisClient, publisher: EventPublisher) -> None:
    """It is said although the attempt was waited for before; then it starts anew."""
    first = attempt_events(publisher)
    first.publish(STARTING)
    assert first.publish_released().outcome == "appended"
    attempt_events(publisher, token=2).publish(STARTING)
    assert steps(redis) == [QUEUED, STARTING, QUEUED, STARTING]


def test_a_released_attempt_that_died_before_it_could_say_so_waits_again(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """Progress never falls inside an attempt: its second start is preceded by its wait."""
    first = attempt_events(publisher)
    first.publish(STARTING)
    first.publish(rendering(10))
    attempt_events(publisher, token=2).publish(STARTING)
    assert steps(redis) == [QUEUED, STARTING, rendering(10), QUEUED, STARTING]


def test_a_request_to_cancel_comes_back_with_the_next_event(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """With every event from then on."""
    events = attempt_events(publisher)
    assert not events.publish(STARTING).cancel_requested
    publisher.request_cancel(TASK)
    assert events.publish(rendering(30)).cancel_requested
    assert events.publish(rendering(50)).cancel_requested


def test_the_last_progress_is_that_of_a_running_attempt(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """A sweep ends a job with the progress that its followers saw."""
    assert publisher.find_last_progress(TASK) == 0
    publisher.publish_waiting(TASK, token=0, attempt=1, max_attempts=3)
    assert publisher.find_last_progress(TASK) == 0
    attempt_events(publisher).publish(rendering(70))
    assert publisher.find_last_progress(TASK) == 70
    publisher.publish_waiting(TASK, token=2, attempt=2, max_attempts=3)
    assert publisher.find_last_progress(TASK) == 0


def test_what_redis_missed_is_published_in_order_once_it_is_back(
    redis: RedisClient, publisher: EventPublisher, redis_server: EmbeddedRedis
) -> None:
    """A killed and restarted server has forgotten the rest, but misses nothing new."""
    events = attempt_events(publisher, is_owner=True)
    events.publish(STARTING)
    redis_server.kill()
    assert events.publish(rendering(30)).outcome == "unsent"
    assert events.publish(rendering(50)).outcome == "unsent"
    redis_server.start()
    wait_until(lambda: events.flush().outcome == "appended", PAUSE_SECONDS + 5, "it to be sent")
    assert events.publish(SAVING).outcome == "appended"
    assert [step for step in steps(redis) if step != QUEUED] == [
        rendering(30),
        rendering(50),
        SAVING,
    ]


def test_a_restart_that_keeps_the_keys_goes_unnoticed(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """Connections cut and scripts forgotten, between two events."""
    events = attempt_events(publisher)
    events.publish(STARTING)
    redis.client_kill_filter(_type="normal", skipme=False)
    redis.script_flush()
    assert events.publish(rendering(30)).outcome == "appended"
    assert steps(redis) == [QUEUED, STARTING, rendering(30)]


def test_a_server_that_is_down_costs_little_time(
    publisher: EventPublisher, redis_server: EmbeddedRedis
) -> None:
    """A refused connection is known at once, and not tried again for a while."""
    redis_server.kill()
    started_at = time.monotonic()
    events = attempt_events(publisher)
    for _ in range(BACKLOG_EVENTS + 5):
        assert events.publish(STARTING).outcome == "unsent"
    publisher.request_cancel(TASK)
    assert publisher.find_last_progress(TASK) == 0
    assert time.monotonic() - started_at < 2


def test_a_frozen_server_costs_a_bounded_time(
    redis: RedisClient, publisher: EventPublisher, redis_server: EmbeddedRedis
) -> None:
    """An event that was sent into the freeze and took effect after it is not published twice."""
    events = attempt_events(publisher)
    events.publish(STARTING)
    redis_server.pause()
    started_at = time.monotonic()
    assert events.publish(rendering(30)).outcome == "unsent"
    assert time.monotonic() - started_at < FROZEN_SECONDS
    started_at = time.monotonic()
    assert events.publish(rendering(50)).outcome == "unsent"
    assert time.monotonic() - started_at < 0.5
    redis_server.resume()
    wait_until(lambda: events.flush().outcome != "unsent", PAUSE_SECONDS + 5, "it to be sent")
    assert steps(redis) == [QUEUED, STARTING, rendering(30), rendering(50)]
