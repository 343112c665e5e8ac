"""The hub and the watcher on a real Redis: many followers, two connections, no lost event."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from devkit.stack import EmbeddedRedis
from shared.errors import ServiceUnavailable
from shared.events.attempt_events import AttemptEvents
from shared.events.event import FROM_THE_START, Event, is_of_row
from shared.events.hub import EventHub
from shared.events.publisher import EventPublisher
from shared.events.reader import READ_AT_MOST
from shared.generation.announce import Announcer
from shared.generation.watch import JobWatcher
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job
from shared.status import QUEUED, STARTING, JobStatus, Step, rendering
from tests.support.builders import new_job
from tests.support.channel import RedisClient
from tests.support.wait import turn, until

CANCELLED = Step(JobStatus.FAILED, 0, "Cancelled")

Play = Callable[[EventHub], Awaitable[None]]


def play(redis_server: EmbeddedRedis, scene: Play) -> None:
    """Run the scene with a hub; nothing of it is left afterwards."""

    async def run() -> None:
        hub = EventHub(redis_server.url)
        try:
            async with asyncio.timeout(60):
                await scene(hub)
        finally:
            await hub.close()
        assert hub.topics == 0
        await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(run())


def first_attempt(publisher: EventPublisher, task_id: str) -> AttemptEvents:
    """Return the events of a job's first attempt, after its first event."""
    publisher.publish_waiting(task_id, token=0, attempt=1, max_attempts=3)
    return AttemptEvents(
        publisher, task_id, token=0, attempt=1, max_attempts=3, owns_job=lambda: True
    )


def clients_of(redis: RedisClient) -> list[dict[str, Any]]:
    """Return the connections to Redis but for the one that asks."""
    own = redis.client_id()
    return [client for client in redis.client_list() if int(client["id"]) != int(own)]


def test_each_follower_gets_the_past_and_then_what_comes(
    redis_server: EmbeddedRedis, redis: RedisClient, publisher: EventPublisher
) -> None:
    """Each event once and in order, wherever a follower starts."""

    async def scene(hub: EventHub) -> None:
        events = first_attempt(publisher, "task")
        events.publish(STARTING)
        received: list[list[Event]] = [[] for _ in range(3)]
        hub.subscribe("task", FROM_THE_START, received[0].append)
        await until(lambda: len(received[0]) == 2)
        hub.subscribe("task", received[0][0].id, received[1].append)
        events.publish(rendering(30))
        hub.subscribe("task", FROM_THE_START, received[2].append)
        events.publish(rendering(50))
        published = [QUEUED, STARTING, rendering(30), rendering(50)]
        await until(lambda: [len(each) for each in received] == [4, 3, 4])
        assert [event.step for event in received[0]] == published
        assert received[1] == received[0][1:]
        assert received[2] == received[0]

    play(redis_server, scene)


def test_any_number_of_followers_share_two_connections(
    redis_server: EmbeddedRedis, redis: RedisClient, publisher: EventPublisher
) -> None:
    """One subscribes, one reads; both close with the last follower."""
    before = len(clients_of(redis))

    async def scene(hub: EventHub) -> None:
        counts = [0] * 300

        def count(number: int) -> Callable[[Event], None]:
            def deliver(_event: Event) -> None:
                counts[number] += 1

            return deliver

        subscriptions = [
            hub.subscribe(f"task-{number}", FROM_THE_START, count(number)) for number in range(300)
        ]
        for number in range(300):
            first_attempt(publisher, f"task-{number}")
        await until(lambda: counts == [1] * 300)
        assert len(clients_of(redis)) == before + 2
        for subscription in subscriptions[1:]:
            hub.unsubscribe(subscription)
        await until(lambda: len(redis.pubsub_channels("task_updates:*")) == 1)
        hub.unsubscribe(subscriptions[0])
        await until(lambda: len(clients_of(redis)) == before)
        assert hub.topics == 0

    play(redis_server, scene)


def test_followers_that_come_and_go_leave_nothing_behind(
    redis_server: EmbeddedRedis, redis: RedisClient
) -> None:
    """A thousand of them, of few jobs, some before they were connected at all."""

    async def scene(hub: EventHub) -> None:
        kept = hub.subscribe("kept", FROM_THE_START, lambda _event: None)
        for number in range(1_000):
            subscription = hub.subscribe(f"task-{number % 7}", "0-0", lambda _event: None)
            if number % 3 == 0:
                await turn()
            hub.unsubscribe(subscription)
        await until(lambda: redis.pubsub_channels("task_updates:*") == ["task_updates:kept"])
        assert hub.topics == 1
        hub.unsubscribe(kept)
        await until(lambda: redis.pubsub_channels("task_updates:*") == [])

    play(redis_server, scene)


def test_a_job_that_is_left_and_followed_again_at_once_is_delivered(
    redis_server: EmbeddedRedis, redis: RedisClient, publisher: EventPublisher
) -> None:
    """Whatever order the two requests reach Redis in."""

    async def scene(hub: EventHub) -> None:
        hub.subscribe("other", FROM_THE_START, lambda _event: None)
        for _ in range(50):
            hub.unsubscribe(hub.subscribe("task", FROM_THE_START, lambda _event: None))
        received: list[Event] = []
        hub.subscribe("task", FROM_THE_START, received.append)
        await until(lambda: "task_updates:task" in redis.pubsub_channels("task_updates:*"))
        first_attempt(publisher, "task")
        await until(lambda: len(received) == 1)

    play(redis_server, scene)


def test_a_long_past_is_read_in_pages(redis_server: EmbeddedRedis, redis: RedisClient) -> None:
    """None is skipped where one page ends and the next begins."""
    count = READ_AT_MOST * 2 + 7
    for number in range(count):
        redis.xadd("task_events:task", {"event": rendering(number % 80 + 10).as_json()})

    async def scene(hub: EventHub) -> None:
        received: list[Event] = []
        hub.subscribe("task", FROM_THE_START, received.append)
        await until(lambda: len(received) >= count)
        ids = [entry_id for entry_id, _ in redis.xrange("task_events:task")]
        assert [event.id for event in received] == ids

    play(redis_server, scene)


def test_a_made_up_id_harms_its_own_follower_alone(
    redis_server: EmbeddedRedis, publisher: EventPublisher
) -> None:
    """Others of the same job receive everything."""

    async def scene(hub: EventHub) -> None:
        events = first_attempt(publisher, "task")
        hub.subscribe("task", "9999999999999-0", lambda _event: None)
        await until(lambda: hub.topics == 1)
        received: list[Event] = []
        hub.subscribe("task", FROM_THE_START, received.append)
        await until(lambda: len(received) == 1)
        events.publish(STARTING)
        await until(lambda: [event.step for event in received] == [QUEUED, STARTING])

    play(redis_server, scene)


def test_an_entry_that_is_not_an_event_is_skipped(
    redis_server: EmbeddedRedis, redis: RedisClient, publisher: EventPublisher
) -> None:
    """In the past and live: the events after it are delivered."""
    broken: list[dict[str, str]] = [
        {"other": "x"},
        {"event": "{"},
        {"event": "[]"},
        {"event": '{"status": "lost", "progress": 1, "message": ""}'},
        {"event": '{"status": "failed", "progress": null, "message": ""}'},
    ]

    async def scene(hub: EventHub) -> None:
        events = first_attempt(publisher, "task")
        received: list[Event] = []
        for step in (STARTING, rendering(30)):
            for fields in broken:
                redis.xadd("task_events:task", dict(fields))
            events.publish(step)
            if step is STARTING:
                hub.subscribe("task", FROM_THE_START, received.append)
            await until(lambda step=step: received and received[-1].step == step)  # type: ignore[misc] # bound early
        assert [event.step for event in received] == [QUEUED, STARTING, rendering(30)]

    play(redis_server, scene)


def test_lost_connections_lose_no_event(
    redis_server: EmbeddedRedis, redis: RedisClient, publisher: EventPublisher
) -> None:
    """Killed again and again, while events come."""

    async def scene(hub: EventHub) -> None:
        events = first_attempt(publisher, "task")
        received: list[Event] = []
        hub.subscribe("task", FROM_THE_START, received.append)
        await until(lambda: received)
        for number in range(30):
            events.publish(rendering(10 + number))
            if number % 5 == 0:
                redis.client_kill_filter(_type="pubsub")
            if number % 7 == 0:
                redis.client_kill_filter(_type="normal", skipme=True)
            await turn()
        await until(lambda: len(received) == 31)
        assert [event.step for event in received] == [
            QUEUED,
            *(rendering(10 + number) for number in range(30)),
        ]

    play(redis_server, scene)


def test_a_restart_of_redis_is_survived(
    redis_server: EmbeddedRedis, publisher: EventPublisher
) -> None:
    """Also by a follower that came while it was down."""

    async def scene(hub: EventHub) -> None:
        received: list[list[Event]] = [[], []]
        hub.subscribe("task", FROM_THE_START, received[0].append)
        redis_server.kill()
        hub.subscribe("task-2", FROM_THE_START, received[1].append)
        await until(lambda: not redis_server.is_running)
        # In this thread: a server ends with the thread that started it.
        redis_server.start()
        publisher.end_pause()
        for number, task_id in enumerate(("task", "task-2")):
            first_attempt(publisher, task_id)
            await until(lambda number=number: received[number])  # type: ignore[misc] # bound early

    play(redis_server, scene)


def test_the_watcher_delivers_the_end_that_only_the_row_holds(
    redis_server: EmbeddedRedis, redis: RedisClient, publisher: EventPublisher, jobs: JobStore
) -> None:
    """It was not published; one query asks for all silent jobs."""
    first, second = jobs.insert(new_job()), jobs.insert(new_job())
    asked: list[Sequence[UUID]] = []

    async def find_ended(job_ids: Sequence[UUID]) -> list[Job]:
        asked.append(job_ids)
        return await asyncio.to_thread(jobs.find_ended, job_ids)

    async def scene(hub: EventHub) -> None:
        watcher = JobWatcher(hub, find_ended)
        received: list[Event] = []
        watches = [watcher.watch(job, FROM_THE_START, received.append) for job in (first, second)]
        jobs.request_cancel(first.id)
        await until(lambda: received)
        assert received[0].step == CANCELLED
        assert is_of_row(received[0].id)
        assert set(asked[0]) == {first.id, second.id}
        for watch in watches:
            watcher.stop(watch)
        assert watcher.watches == 0

    play(redis_server, scene)


def test_the_watcher_delivers_the_end_while_redis_and_then_postgresql_are_unavailable(
    redis_server: EmbeddedRedis, jobs: JobStore
) -> None:
    """One of the two is enough, as soon as it is back."""
    job = jobs.insert(new_job())
    jobs.request_cancel(job.id)
    faults = iter([True, False])

    async def find_ended(job_ids: Sequence[UUID]) -> list[Job]:
        if next(faults, False):
            raise ServiceUnavailable("PostgreSQL: played")
        return await asyncio.to_thread(jobs.find_ended, job_ids)

    async def scene(hub: EventHub) -> None:
        watcher = JobWatcher(hub, find_ended)
        redis_server.kill()
        assert await has_end(watcher, job, 20)
        assert watcher.watches == 0

    play(redis_server, scene)


async def has_end(watcher: JobWatcher, job: Job, seconds: float) -> bool:
    """Follow a job for so long, and return whether it has ended."""
    return any([event.is_last async for event in watcher.follow(job, seconds)])


def test_waiting_for_an_end_is_limited_in_time(
    redis_server: EmbeddedRedis, jobs: JobStore, publisher: EventPublisher
) -> None:
    """False when it did not come; an end in time is noticed at once."""
    job = jobs.insert(new_job())

    async def scene(hub: EventHub) -> None:
        watcher = JobWatcher(hub, lambda job_ids: asyncio.to_thread(jobs.find_ended, job_ids))
        assert not await has_end(watcher, job, 0.05)
        waiting = asyncio.ensure_future(has_end(watcher, job, 20))
        await turn()
        Announcer(jobs, publisher).announce(jobs.request_cancel(job.id).ending)
        started_at = asyncio.get_running_loop().time()
        assert await waiting
        assert asyncio.get_running_loop().time() - started_at < 2

    play(redis_server, scene)


def test_a_frozen_redis_delays_no_end(
    redis_server: EmbeddedRedis, publisher: EventPublisher, jobs: JobStore
) -> None:
    """A read without an answer is given up; once it answers again, all is as before."""
    job, other = jobs.insert(new_job()), jobs.insert(new_job())

    async def scene(hub: EventHub) -> None:
        watcher = JobWatcher(hub, lambda job_ids: asyncio.to_thread(jobs.find_ended, job_ids))
        received: list[Event] = []
        later: list[Event] = []
        watches = [
            watcher.watch(job, FROM_THE_START, received.append),
            watcher.watch(other, FROM_THE_START, later.append),
        ]
        first_attempt(publisher, job.task_id)
        await until(lambda: received)
        redis_server.pause()
        jobs.request_cancel(job.id)
        await until(lambda: len(received) == 2, within=30)
        assert received[1].step == CANCELLED
        redis_server.resume()
        first_attempt(publisher, other.task_id)
        await until(lambda: [event.step for event in later] == [QUEUED], within=20)
        for watch in watches:
            watcher.stop(watch)

    play(redis_server, scene)


def test_many_ends_cost_one_answer_that_a_frozen_redis_does_not_give(
    redis_server: EmbeddedRedis, jobs: JobStore
) -> None:
    """A wait for each would keep the last client for minutes."""
    ended = [jobs.insert(new_job()) for _ in range(20)]

    async def scene(hub: EventHub) -> None:
        watcher = JobWatcher(hub, lambda job_ids: asyncio.to_thread(jobs.find_ended, job_ids))
        received: list[Event] = []
        watches = [watcher.watch(job, FROM_THE_START, received.append) for job in ended]
        await until(lambda: all(each.is_live for each in watches))
        redis_server.pause()
        for job in ended:
            jobs.request_cancel(job.id)
        await until(lambda: len(received) == len(ended), within=30)
        redis_server.resume()
        for watch in watches:
            watcher.stop(watch)

    play(redis_server, scene)
