"""One open stream, with a connection that the test plays: slow, closed, asked to reconnect."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from shared.api.sse_streaming import FRAMES_MAX, StreamTimings
from shared.events.event import Event
from shared.jobs.model import Job
from shared.status import COMPLETED, JobStatus, rendering
from tests.support.live import Connection, Played
from tests.support.wait import turn, until

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SOON_SECONDS = 5.0

JOB = Job(
    id=UUID(int=1),
    task_id="task",
    workspace_id="default",
    user_id=None,
    product_id=None,
    source_asset_id=None,
    status=JobStatus.PROCESSING,
    progress=10,
    message="Processing...",
    params={},
    result=None,
    error=None,
    attempt=1,
    max_attempts=3,
    priority=0,
    start_by=None,
    next_attempt_at=None,
    lease_token=1,
    cancel_requested_at=None,
    announced_at=None,
    created_at=NOW,
    started_at=NOW,
    finished_at=None,
)


def test_a_stream_sends_every_event_and_ends_with_the_last() -> None:
    """In order, each frame once, and nothing is held afterwards."""

    async def play() -> None:
        played, connection = Played(), Connection()
        task = await played.open(JOB, connection)
        played.watcher.publish(Event("1-0", rendering(30)))
        played.watcher.publish(Event("2-0", COMPLETED))
        await asyncio.wait_for(task, SOON_SECONDS)
        assert connection.text == (
            "retry: 1000\n\n"
            'id: 1-0\ndata: {"status": "processing", "progress": 30, "message": "Rendering..."}\n\n'
            'id: 2-0\ndata: {"status": "completed", "progress": 100, "message": "Completed"}\n\n'
        )
        assert connection.is_complete
        await assert_nothing_is_held(played)

    asyncio.run(play())


def test_a_client_that_leaves_frees_everything() -> None:
    """Whether the stream has said something or not."""

    async def play() -> None:
        played = Played()
        for _ in range(100):
            connection = Connection()
            task = await played.open(JOB, connection)
            connection.left.set()
            await asyncio.wait_for(task, SOON_SECONDS)
        await assert_nothing_is_held(played)

    asyncio.run(play())


def test_a_client_that_does_not_read_is_cut_off_and_delays_no_other() -> None:
    """Its frames are bounded; the other client has them all meanwhile."""

    async def play() -> None:
        played, slow, quick = Played(), Connection(), Connection()
        slow_task = await played.open(JOB, slow)
        quick_task = await played.open(JOB, quick)
        await turn()
        slow.reads.clear()
        for number in range(FRAMES_MAX + 10):
            played.watcher.publish(Event(f"{number + 1}-0", rendering(30)))
            await turn()
        await asyncio.wait_for(slow_task, SOON_SECONDS)
        assert not slow.is_complete
        assert slow.text.count("data:") <= 1
        played.watcher.publish(Event("9999-0", COMPLETED))
        await asyncio.wait_for(quick_task, SOON_SECONDS)
        assert quick.text.count("data:") == FRAMES_MAX + 11
        await assert_nothing_is_held(played)

    asyncio.run(play())


def test_a_client_that_is_stuck_is_cut_off_in_time() -> None:
    """Though nothing more is to be sent to it."""

    async def play() -> None:
        played, connection = Played(StreamTimings(tick=0.01, stuck_after=0.05)), Connection()
        task = await played.open(JOB, connection)
        connection.reads.clear()
        played.watcher.publish(Event("1-0", rendering(30)))
        await asyncio.wait_for(task, SOON_SECONDS)
        assert not connection.is_complete
        await assert_nothing_is_held(played)

    asyncio.run(play())


def test_a_quiet_stream_is_kept_alive_by_comments() -> None:
    """Proxies close what says nothing."""

    async def play() -> None:
        played, connection = Played(StreamTimings(tick=0.01, ping_after=0.02)), Connection()
        task = await played.open(JOB, connection)
        await until(lambda: connection.text.count(": still here\n\n") >= 3)
        connection.left.set()
        await asyncio.wait_for(task, SOON_SECONDS)

    asyncio.run(play())


def test_streams_and_waits_end_with_their_key() -> None:
    """Those of other keys and of signed addresses go on."""

    async def play() -> None:
        played = Played(StreamTimings(tick=0.01, renew_after=0.02))
        connections = [Connection() for _ in range(3)]
        keys = ("revoked", "valid", None)
        tasks = [
            await played.open(JOB, connection, key)
            for connection, key in zip(connections, keys, strict=True)
        ]

        async def wait() -> None:
            async with played.delivery.hold("default", "revoked"):
                await asyncio.Event().wait()

        waiting = asyncio.create_task(wait())
        await until(lambda: len(played.slots.taken) == 4)
        played.revoked.add("revoked")
        await asyncio.wait_for(asyncio.wait([tasks[0], waiting]), SOON_SECONDS)
        assert connections[0].is_complete
        assert waiting.cancelled()
        await turn()
        assert not any(task.done() for task in tasks[1:])
        for connection in connections:
            connection.left.set()
        await asyncio.gather(*tasks)
        await assert_nothing_is_held(played)

    asyncio.run(play())


def test_streams_that_are_ended_say_when_to_reconnect() -> None:
    """As the API stops: each at a moment of its own, after all it had to say."""

    async def play() -> None:
        played = Played()
        connections = [Connection() for _ in range(20)]
        tasks = [await played.open(JOB, connection) for connection in connections]
        played.watcher.publish(Event("1-0", rendering(30)))
        played.delivery.end_streams()
        await asyncio.wait_for(asyncio.gather(*tasks), SOON_SECONDS)
        waits = set()
        for connection in connections:
            assert connection.is_complete
            *_, event, retry, end = connection.text.split("\n\n")
            assert event.startswith("id: 1-0\n")
            waits.add(int(retry.removeprefix("retry: ")))
            assert end == ""
        assert len(waits) > 5
        await assert_nothing_is_held(played)

    asyncio.run(play())


async def assert_nothing_is_held(played: Played) -> None:
    """No stream, no watch, no slot and no task is left."""
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert played.delivery.streams == set()
    assert played.watcher.listeners == []
    assert played.slots.taken == set()
