"""An open event stream without a network: the connection is played by the test."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from shared.access.stream_slots import StreamSlots
from shared.api.gate import LATER
from shared.api.sse_streaming import LiveDelivery, StreamTimings
from shared.events.event import Event
from shared.generation.follow import EventFollower
from shared.generation.watch import JobWatcher
from shared.jobs.model import Job


class Connection:
    """What uvicorn gives an application: messages out, and the client's leaving in."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.is_blocked = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()

    async def send(self, message: Any) -> None:
        """Take a message, as soon as the client reads."""
        if not self.reads.is_set():
            self.is_blocked.set()
        await self.reads.wait()
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message["more_body"]:
            self.left.set()

    async def receive(self) -> dict[str, Any]:
        """Return once the client has left, or the response is complete."""
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def text(self) -> str:
        """All that was sent."""
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def is_complete(self) -> bool:
        """Whether the response was ended in order."""
        return bool(self.sent) and self.sent[-1].get("more_body") is False


class ScriptedWatcher:
    """A watcher whose events the test publishes; counts its followers."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Event], None]] = []

    def watch(self, _job: Job, _after_id: str, deliver: Callable[[Event], None]) -> object:
        """Remember who listens."""
        self.listeners.append(deliver)
        return deliver

    def stop(self, watch: Any) -> None:
        """Forget who listened."""
        self.listeners.remove(watch)

    def publish(self, event: Event) -> None:
        """Deliver an event to everybody."""
        for deliver in tuple(self.listeners):
            deliver(event)


class CountedSlots:
    """Slots without a limit; counts those that are taken."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def take(self, _workspace_id: str, slot: str) -> None:
        """Take one."""
        self.taken.add(slot)

    def renew(self, slots: Any) -> None:
        """Keep them."""

    def free(self, _workspace_id: str, slots: list[str]) -> None:
        """Give them back."""
        self.taken.difference_update(slots)


class Played:
    """A delivery whose watcher and slots are played."""

    def __init__(self, timings: StreamTimings | None = None) -> None:
        self.watcher, self.slots = ScriptedWatcher(), CountedSlots()
        self.revoked: set[str] = set()
        self.delivery = LiveDelivery(
            cast(JobWatcher, self.watcher),
            cast(EventFollower, None),
            cast(StreamSlots, self.slots),
            1_000,
            self.revoked.intersection,
            timings,
        )

    async def open(
        self, job: Job, connection: Connection, key_id: str | None = None
    ) -> "asyncio.Task[None]":
        """Open a stream of a running job; its task ends with the response."""
        response: Any = await self.delivery.respond(job, "0-0", None, key_id)
        later: list[Any] = []
        await response({LATER: later}, connection.receive, connection.send)
        task = asyncio.ensure_future(later.pop()(connection.receive, connection.send))
        await asyncio.sleep(0)
        return cast("asyncio.Task[None]", task)
