"""The fence in Redis against the row: the row decides, and clients see one end."""

from dataclasses import replace

import pytest

from shared.errors import ServiceUnavailable
from shared.events.attempt_events import AttemptEvents
from shared.events.keys import unprefixed as keys
from shared.events.publisher import EventPublisher
from shared.status import COMPLETED, QUEUED, STARTING, failed, rendering
from tests.integration.test_publisher import TASK, attempt_events, ending, record, steps
from tests.support.channel import RedisClient


def test_the_record_is_that_of_the_last_end_in_the_row(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """A failover made the row forget an end that was published, and the job has ended again."""
    publisher.publish_ending(ending(token=3))
    later = replace(ending(token=4), image_urls=("/v1/images/b",))
    assert publisher.publish_ending(later).outcome == "ended"
    end = record(redis)
    assert end is not None
    assert end["result"] == {"job_id": str(later.job_id), "images": ["/v1/images/b"]}
    publisher.publish_ending(ending(token=3))
    assert record(redis) == end
    assert steps(redis) == [COMPLETED]


@pytest.mark.parametrize(
    "fence", [{"token": 99}, {"waited_for": 9}, {"ended": 1}, {"token": 99, "ended": 1}]
)
def test_the_row_decides_against_the_fence(
    redis: RedisClient, publisher: EventPublisher, fence: dict[str, int]
) -> None:
    """The owner goes on, and so does its end; without its word the fence stands."""
    owner = attempt_events(publisher, is_owner=True)
    owner.publish(STARTING)
    redis.hset(keys.fence(TASK), mapping=fence)
    stale = attempt_events(publisher)
    if "ended" not in fence or "token" in fence:
        assert stale.publish(rendering(10)).outcome == "fenced"
    assert owner.publish(rendering(30)).outcome == "appended"
    assert owner.publish(rendering(50)).outcome == "appended"
    redis.hset(keys.fence(TASK), mapping=fence)
    assert publisher.publish_ending(ending(token=1)).outcome == "appended"
    assert steps(redis) == [QUEUED, STARTING, rendering(30), rendering(50), COMPLETED]


def test_after_redis_was_emptied_an_attempt_asks_the_row(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """One that has lost its job publishes nothing."""
    owner, stale = attempt_events(publisher, is_owner=True), attempt_events(publisher)
    owner.publish(STARTING)
    stale.publish(STARTING)
    redis.flushall()
    assert stale.publish(rendering(30)).outcome == "fenced"
    assert steps(redis) == []
    assert owner.publish(rendering(30)).outcome == "appended"
    assert steps(redis) == [rendering(30)]


def test_an_event_waits_where_the_row_cannot_be_asked(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """While both servers are unavailable nothing is known; it is asked once in a while."""
    asked = []

    def ask() -> bool:
        asked.append(1)
        raise ServiceUnavailable("PostgreSQL")

    events = AttemptEvents(publisher, TASK, token=1, attempt=1, max_attempts=3, owns_job=ask)
    events.publish(STARTING)
    redis.flushall()
    assert events.publish(rendering(30)).outcome == "unsent"
    assert events.publish(rendering(50)).outcome == "unsent"
    assert (len(asked), steps(redis)) == (1, [])


def test_an_end_does_not_fall_behind_what_clients_have_seen(
    redis: RedisClient, publisher: EventPublisher
) -> None:
    """Redis was unavailable at the verdict, and the row lags behind the events."""
    events = attempt_events(publisher)
    events.publish(STARTING)
    events.publish(rendering(70))
    result = publisher.publish_ending(ending(token=2, step=failed(30, 'No "progress": 5')))
    assert (result.outcome, result.progress) == ("appended", 70)
    assert steps(redis)[-1] == failed(70, 'No "progress": 5')
