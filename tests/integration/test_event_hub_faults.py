"""What breaks for one job or one follower of the hub breaks for no other."""

from devkit.stack import EmbeddedRedis
from shared.events.event import FROM_THE_START, Event
from shared.events.hub import EventHub
from shared.events.keys import unprefixed as keys
from shared.events.publisher import EventPublisher
from shared.status import STARTING, rendering
from tests.integration.test_event_hub import first_attempt, play
from tests.support.channel import RedisClient
from tests.support.wait import until


def test_a_key_that_is_no_stream_stops_no_other_job(
    redis_server: EmbeddedRedis, redis: RedisClient, publisher: EventPublisher
) -> None:
    """Neither while its follower catches up nor when it is live."""

    async def scene(hub: EventHub) -> None:
        redis.set(keys.stream("broken"), "no stream")
        received: list[Event] = []
        hub.subscribe("broken", FROM_THE_START, lambda _event: None)
        late = hub.subscribe("late", FROM_THE_START, received.append)
        hub.subscribe("task", FROM_THE_START, received.append)
        events, others = first_attempt(publisher, "task"), first_attempt(publisher, "late")
        await until(lambda: len(received) == 2)
        assert late.is_live
        redis.delete(keys.stream("late"))
        redis.set(keys.stream("late"), "no stream any more")
        redis.publish(keys.channel("late"), "{}")
        events.publish(STARTING)
        others.publish(STARTING)
        await until(lambda: len(received) == 3)
        events.publish(rendering(30))
        await until(lambda: len(received) == 4)

    play(redis_server, scene)


def test_a_follower_that_breaks_stops_no_other(
    redis_server: EmbeddedRedis, publisher: EventPublisher
) -> None:
    """It gets nothing more."""

    async def scene(hub: EventHub) -> None:
        received: list[Event] = []

        def fail(_event: Event) -> None:
            raise KeyError("no")

        broken = hub.subscribe("task", FROM_THE_START, fail)
        hub.subscribe("task", FROM_THE_START, received.append)
        events = first_attempt(publisher, "task")
        events.publish(STARTING)
        await until(lambda: len(received) == 2)
        assert broken.is_over

    play(redis_server, scene)
