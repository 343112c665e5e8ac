"""Event delivery by streaming, under uvicorn: one response and one task for each stream.

All streams share the hub's two connections to Redis, and one timer, which keeps quiet streams
alive and closes those whose clients do not read.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import structlog
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.access.stream_slots import SLOT_SECONDS, StreamSlots
from shared.api.delivery import HEADERS, find_answer_of_ended, frame, retry_frame
from shared.api.gate import LATER
from shared.events.event import Event
from shared.events.topics import Deliver, Subscription
from shared.generation.follow import EventFollower
from shared.generation.watch import JobWatcher
from shared.jobs.model import Job

PING = b": still here\n\n"
RETRY_MILLISECONDS = 1_000
FRAMES_MAX = 1_000
"""Frames that may wait for one client; about a whole stream of a job."""

Run = Callable[..., Awaitable[Any]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StreamTimings:
    """How streams are kept alive, in seconds.

    Attributes:
        tick: Between two checks of all streams.
        ping_after: Of silence before a comment is sent; with the tick well within 15 s.
        stuck_after: That one send may take.
    """

    tick: float = 1.0
    ping_after: float = 12.0
    stuck_after: float = 20.0


class LiveStream(Response):
    """One open stream: a response that sends events until the last, or until it is closed.

    Its task waits for the client to disconnect. Another task sends frames, and lives only while
    there are any.
    """

    def __init__(self, delivery: "LiveDelivery", job: Job, after_id: str, slot: str) -> None:
        # The base class is not called: it would render a body, and keep more than is needed.
        self.background: BackgroundTask | None = None
        self.status_code = 200
        self.job_id, self.workspace_id, self.slot = job.id, job.workspace_id, slot
        self._job: Job | None = job
        self.sent_at = 0.0
        self.is_sending = False
        self._after_id = after_id
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
            watch = delivery.open(self, *self._begin(), self._deliver)
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

    def _begin(self) -> tuple[Job, str]:
        # The job is not kept: its prompt and error may have kilobytes.
        job, self._job = self._job, None
        if job is None:
            raise RuntimeError("a stream is served once")
        return job, self._after_id

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


class LiveDelivery:
    """Streams events; implements `shared.api.delivery.EventDelivery`.

    Args:
        run: Runs a blocking call in a thread.
    """

    def __init__(
        self,
        watcher: JobWatcher,
        follower: EventFollower,
        slots: StreamSlots,
        run: Run,
        timings: StreamTimings | None = None,
    ) -> None:
        self._timings = timings or StreamTimings()
        self._watcher = watcher
        self._follower = follower
        self._slots = slots
        self._run = run
        self.streams: set[LiveStream] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()

    async def respond(self, job: Job, after_id: str) -> Response:
        """Return the stream of a job; see the port."""
        if job.status.is_terminal:
            answer = await self._run(find_answer_of_ended, self._follower, job, after_id)
            if answer is not None:
                return cast(Response, answer)
        slot = uuid4().hex
        await self._run(self._slots.take, job.workspace_id, slot)
        return LiveStream(self, job, after_id, slot)

    async def wait_for_end(self, job: Job, seconds: float) -> None:
        """Return when the job has ended, or after so many seconds."""
        await self._watcher.wait_for_end(job, seconds)

    def end_streams(self) -> None:
        """End all streams; their clients reconnect to the process that takes over."""
        for stream in tuple(self.streams):
            # Each at a moment of its own.
            stream.end(retry_frame(random.randint(200, 1_500)))  # noqa: S311 - no secret

    def open(self, stream: LiveStream, job: Job, after_id: str, deliver: Deliver) -> Subscription:
        """Begin to deliver events to a stream."""
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().create_task(self._tick())
        stream.sent_at = asyncio.get_running_loop().time()
        return self._watcher.watch(job, after_id, deliver)

    def close(self, stream: LiveStream, watch: Subscription | None) -> None:
        """Release everything that a stream holds."""
        self.streams.discard(stream)
        if watch is not None:
            self._watcher.stop(watch)
        self._in_background(self._run(self._slots.free, stream.workspace_id, [stream.slot]))
        if not self.streams and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    def _in_background(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + SLOT_SECONDS / 3
        while True:
            await asyncio.sleep(self._timings.tick)
            now = loop.time()
            for stream in tuple(self.streams):
                if stream.is_sending and now - stream.sent_at >= self._timings.stuck_after:
                    stream.abort()
                elif not stream.is_sending and now - stream.sent_at >= self._timings.ping_after:
                    stream.push(PING)
            if now >= renew_at:
                renew_at = now + SLOT_SECONDS / 3
                await self._renew_slots()

    async def _renew_slots(self) -> None:
        slots: dict[str, list[str]] = {}
        for stream in self.streams:
            slots.setdefault(stream.workspace_id, []).append(stream.slot)
        await self._run(self._slots.renew, slots)
