"""Event delivery by streaming, under uvicorn: one response and one task for each stream.

All streams share the hub's two connections to Redis, and one timer, which keeps quiet streams
alive and closes those whose clients do not read.
"""

import asyncio
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.access.stream_slots import SLOT_SECONDS, StreamSlots
from shared.api.gate import LATER
from shared.api.sse import (
    HEADERS,
    AnswerLimits,
    Describe,
    find_answer_of_ended,
    frame,
    frames,
    retry_frame,
)
from shared.errors import ServiceUnavailable
from shared.events.background import keep_running
from shared.events.event import Event
from shared.events.topics import Deliver, Subscription
from shared.generation.follow import EventFollower
from shared.generation.watch import JobWatcher
from shared.jobs.model import Job

PING = b": still here\n\n"
RETRY_MILLISECONDS = 1_000
FRAMES_MAX = 1_000
"""Frames that may wait for one client; about a whole stream of a job."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StreamTimings:
    """How streams are kept alive, in seconds.

    Attributes:
        tick: Between two checks of all streams.
        ping_after: Of silence before a comment is sent; with the tick well within 15 s.
        stuck_after: That one send may take.
        renew_after: Between two renewals of the slots, which end those of revoked keys.
    """

    tick: float = 1.0
    ping_after: float = 12.0
    stuck_after: float = 20.0
    renew_after: float = SLOT_SECONDS / 3


@dataclass(frozen=True, slots=True)
class _Holder:
    """What holds a slot: a stream, or a request that waits.

    Attributes:
        key_id: Of the API key that it was opened with; None for a signed address.
        end: Called once the key is revoked.
    """

    workspace_id: str
    key_id: str | None
    end: Callable[[], object]


class LiveStream(Response):
    """One open stream: a response that sends events until the last, or until it is closed.

    Its task waits for the client to disconnect. Another task sends frames, and lives only while
    there are any.
    """

    def __init__(self, delivery: "LiveDelivery", job: Job, after_id: str, slot: str) -> None:
        # The base class is not called: it would render a body, and keep more than is needed.
        self.background: BackgroundTask | None = None
        self.status_code = 200
        self.job_id, self.slot = job.id, slot
        self.job, self.after_id = job, after_id
        self.sent_at = 0.0
        self.is_sending = False
        self._delivery = delivery
        self._frames: list[bytes] = []
        self._send: Send | None = None
        self._sender: asyncio.Task[None] | None = None
        self._main: asyncio.Task[Any] | None = None
        self._is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the stream to the gate, which serves it outside the framework's calls (ASGI)."""
        scope[LATER].append(self.serve)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Serve the stream until its last event, or until its client disconnects."""
        self._send, self._main = send, asyncio.current_task()
        delivery, watch = self._delivery, None
        delivery.streams.add(self)
        try:
            headers = [(name.lower().encode(), text.encode()) for name, text in HEADERS.items()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            self.push(retry_frame(RETRY_MILLISECONDS))
            watch = delivery.open(self, self._deliver)
            # Its prompt and error may have kilobytes.
            del self.job
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
        finally:
            self._is_ending = True
            if self._sender is not None:
                self._sender.cancel()
            delivery.close(self, watch)

    def push(self, data: bytes) -> None:
        """Send this after what waits already; close the stream of a client that does not read."""
        if self._is_ending:
            return
        self._frames.append(data)
        if len(self._frames) > FRAMES_MAX:
            self.abort()
        elif self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_frames())

    def end(self, data: bytes = b"") -> None:
        """Send this as the end of the response."""
        self.push(data)
        self._is_ending = True

    def abort(self) -> None:
        """Close the connection; its client reconnects, and continues where it was."""
        log.info("slow stream cut off", job_id=str(self.job_id), frames=len(self._frames))
        self._is_ending = True
        self._frames.clear()
        if self._main is not None:
            self._main.cancel()

    def _deliver(self, event: Event) -> None:
        if event.is_last:
            self.end(frame(event))
        else:
            self.push(frame(event))

    async def _send_frames(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._frames and self._send is not None:
                data = b"".join(self._frames)
                self._frames.clear()
                self.is_sending, self.sent_at = True, loop.time()
                is_last = self._is_ending
                await self._send(
                    {"type": "http.response.body", "body": data, "more_body": not is_last}
                )
        except OSError:
            # The client has disconnected, which ends the task of the stream, too.
            self._frames.clear()
        finally:
            self.is_sending, self._sender = False, None


class DetailedStream(LiveStream):
    """A stream whose client receives the job, too: read after events, and sent with them."""

    def __init__(
        self, delivery: "LiveDelivery", job: Job, after_id: str, slot: str, describe: Describe
    ) -> None:
        super().__init__(delivery, job, after_id, slot)
        self._describe = describe
        self._events: list[Event] = []
        self._reader: asyncio.Task[None] | None = None

    def _deliver(self, event: Event) -> None:
        self._events.append(event)
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._read_job())

    async def _read_job(self) -> None:
        try:
            while self._events:
                events = tuple(self._events)
                data = await asyncio.to_thread(frames, events, self._describe)
                del self._events[: len(events)]
                if events[-1].is_last:
                    self.end(data)
                else:
                    self.push(data)
        finally:
            self._reader = None
            if self._events:
                # The job could not be shown: the client reconnects.
                self.abort()


class LiveDelivery:
    """Streams events; implements `shared.api.sse.EventDelivery`.

    Args:
        streams_max: Slots that this process may hold at once, of all workspaces.
        find_revoked: Returns those of some API keys that are not valid any more. Blocks.
    """

    limits: AnswerLimits | None = None

    def __init__(
        self,
        watcher: JobWatcher,
        follower: EventFollower,
        slots: StreamSlots,
        streams_max: int,
        find_revoked: Callable[[Collection[str]], Collection[str]],
        timings: StreamTimings | None = None,
    ) -> None:
        self._timings = timings or StreamTimings()
        self._watcher = watcher
        self._follower = follower
        self._slots = slots
        self._streams_max = streams_max
        self._find_revoked = find_revoked
        self._held: dict[str, _Holder] = {}
        self.streams: set[LiveStream] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._freeing: set[asyncio.Task[None]] = set()

    async def respond(
        self, job: Job, after_id: str, describe: Describe | None = None, key_id: str | None = None
    ) -> Response:
        """Return the stream of a job; see the port."""
        if job.status.is_terminal:
            answer = await asyncio.to_thread(
                find_answer_of_ended, self._follower, job, after_id, describe
            )
            if answer is not None:
                return answer
        slot = uuid4().hex
        stream = (
            LiveStream(self, job, after_id, slot)
            if describe is None
            else DetailedStream(self, job, after_id, slot, describe)
        )
        await self._take(slot, _Holder(job.workspace_id, key_id, stream.end))
        return stream

    @asynccontextmanager
    async def hold(self, workspace_id: str, key_id: str | None = None) -> AsyncIterator[None]:
        """Hold the slot of a stream for the length of a block; see the port."""
        slot, task = uuid4().hex, asyncio.current_task()
        end = (lambda: None) if task is None else task.cancel
        await self._take(slot, _Holder(workspace_id, key_id, end))
        try:
            yield
        finally:
            self._free(slot)

    def follow(self, job: Job, seconds: float = math.inf) -> AsyncGenerator[Event, None]:
        """Yield the events of a job as they come; see the port."""
        return self._watcher.follow(job, seconds)

    def end_streams(self) -> None:
        """End all streams; their clients reconnect to the process that takes over."""
        for stream in tuple(self.streams):
            # Each at a moment of its own.
            stream.end(retry_frame(random.randint(200, 1_500)))  # noqa: S311 - no secret

    def open(self, stream: LiveStream, deliver: Deliver) -> Subscription:
        """Begin to deliver events to a stream."""
        stream.sent_at = asyncio.get_running_loop().time()
        return self._watcher.watch(stream.job, stream.after_id, deliver)

    def close(self, stream: LiveStream, watch: Subscription | None) -> None:
        """Release everything that a stream holds."""
        self.streams.discard(stream)
        if watch is not None:
            self._watcher.stop(watch)
        self._free(stream.slot)

    async def _take(self, slot: str, holder: _Holder) -> None:
        if len(self._held) >= self._streams_max:
            raise ServiceUnavailable(f"this process serves {self._streams_max} streams already")
        self._held[slot] = holder
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().create_task(
                keep_running("streams", self._tick)
            )
        with ExitStack() as undo:
            undo.callback(self._free, slot)
            await asyncio.to_thread(self._slots.take, holder.workspace_id, slot)
            undo.pop_all()

    def _free(self, slot: str) -> None:
        workspace_id = self._held.pop(slot).workspace_id
        freeing = asyncio.create_task(asyncio.to_thread(self._slots.free, workspace_id, [slot]))
        self._freeing.add(freeing)
        freeing.add_done_callback(self._freeing.discard)
        if not self._held and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + self._timings.renew_after
        while True:
            await asyncio.sleep(self._timings.tick)
            now = loop.time()
            for stream in tuple(self.streams):
                if stream.is_sending and now - stream.sent_at >= self._timings.stuck_after:
                    stream.abort()
                elif not stream.is_sending and now - stream.sent_at >= self._timings.ping_after:
                    stream.push(PING)
            if now >= renew_at:
                renew_at = now + self._timings.renew_after
                await self._renew_slots()
                await self._end_revoked()

    async def _renew_slots(self) -> None:
        slots: dict[str, list[str]] = {}
        for slot, holder in self._held.items():
            slots.setdefault(holder.workspace_id, []).append(slot)
        await asyncio.to_thread(self._slots.renew, slots)

    async def _end_revoked(self) -> None:
        """End whatever is open with a key that was revoked; one statement for all keys."""
        key_ids = {holder.key_id for holder in self._held.values() if holder.key_id}
        if not key_ids:
            return
        try:
            revoked = await asyncio.to_thread(self._find_revoked, key_ids)
        except ServiceUnavailable as error:
            log.warning("keys of streams not checked", reason=str(error))
            return
        ended = [holder for holder in self._held.values() if holder.key_id in revoked]
        for holder in ended:
            holder.end()
        if ended:
            log.info("streams of revoked keys ended", streams=len(ended))
