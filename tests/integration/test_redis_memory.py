"""What jobs take of Redis, and for how long."""

from datetime import UTC, datetime
from uuid import UUID

from redis import Redis

from devkit.stack import EmbeddedRedis
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import ENDED_SECONDS, EventPublisher
from shared.status import COMPLETED, PREPARING, SAVING, STARTING, Ending, rendering
from tests.support.channel import RedisClient

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_job_takes_little_memory_and_leaves_soon(redis: RedisClient) -> None:
    """While it waits, once it has run, and after its end, when only the record stays for long."""
    publisher = EventPublisher(redis, ttl_seconds=86_400, stream_length=1_000)
    publisher.publish_waiting("task", token=0, attempt=1, max_attempts=3)
    assert bytes_of_all(redis) < 640
    events = AttemptEvents(
        publisher, "task", token=1, attempt=1, max_attempts=3, owns_job=lambda: True
    )
    for step in (STARTING, PREPARING, *map(rendering, (30, 50, 70, 90)), SAVING):
        events.publish(step)
    assert redis.ttl("task_events:task") > ENDED_SECONDS
    publisher.publish_ending(Ending(UUID(int=1), "task", 1, COMPLETED, NOW, ("/v1/images/a",)))
    assert bytes_of_all(redis) < 1_700
    assert redis.xlen("task_events:task") == 9
    for key in ("task_events:task", "task_fence:task"):
        assert 0 < redis.ttl(key) <= ENDED_SECONDS
    assert redis.ttl("celery-task-meta-task") > ENDED_SECONDS


def bytes_of_all(redis: RedisClient) -> int:
    """Return what all keys take."""
    return sum(redis.memory_usage(key, samples=0) for key in redis.keys("*"))


def test_a_user_who_may_not_copy_a_stream_publishes_all_the_same(
    redis: RedisClient, redis_server: EmbeddedRedis
) -> None:
    """The stream then takes more memory."""
    redis.execute_command(
        "ACL", "SETUSER", "plain", "on", "nopass", "~*", "&*", "+@all", "-restore"
    )
    try:
        client = Redis.from_url(
            redis_server.url, username="plain", password="x", decode_responses=True
        )
        with client:
            publisher = EventPublisher(client, ttl_seconds=60, stream_length=50)
            result = publisher.publish_waiting("task", token=0, attempt=1, max_attempts=3)
        assert result.outcome == "appended"
        assert redis.xlen("task_events:task") == 1
    finally:
        redis.execute_command("ACL", "DELUSER", "plain")
