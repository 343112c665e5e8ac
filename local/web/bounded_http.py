"""Uvicorn's HTTP protocol with bounds for one connection: what it may send, and how slowly.

httptools bounds nothing, and uvicorn waits for a client for ever. `local.web.server` uses this
protocol, and lets it look at its deadlines once a second. Where the process may have no more
connections, those that owe a request for the longest make room for new ones.
"""

from asyncio import Transport
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from local.open_files import connections_of, open_files_max

UNPRODUCTIVE_MAX_BYTES = 64 * 1024
"""Bytes between two parts of a body, or of a whole head: request line, headers, trailers, framing.

The heads of an AWS load balancer have at most 64 KiB, too (docs.aws.amazon.com/
elasticloadbalancing, "Quotas for your Application Load Balancers")."""

HEADERS_MAX = 100
PIPELINED_MAX = 16
"""Requests that wait until an earlier one is answered."""

PIECE_BYTES = 16 * 1024
"""What is parsed at once, between two looks at the bounds: uvloop reads up to 256 KiB."""

BODY_BYTES_PER_SECOND = 1024
"""A body that comes at this rate has no deadline."""

_TURNED_AWAY = b"content-length: 0\r\nretry-after: 2\r\nconnection: close\r\n\r\n"

REFUSAL_SECONDS = 5.0
"""How long a refused client has to read the answer; what it still sends is dropped."""


class BoundedHttp(HttpToolsProtocol):
    """One connection.

    Attributes:
        patience_seconds: For a head from its first byte, for a body that does not grow, and for
            an answer of which nothing is taken.
        connections_max: Of the server; None for as many as the process has files for.
    """

    patience_seconds: ClassVar[float] = 20.0

    connections_max: ClassVar[int | None] = None

    _incomplete: RequestResponseCycle | None = None
    """The request whose body is due."""

    _running: RequestResponseCycle | None = None
    """The request that is served."""

    _is_refused = False
    _refusal_status = 400
    _due_at: float | None = None
    """When the client must have sent what it owes; None while it owes nothing."""

    _granted_at = 0.0
    _unproductive_bytes = 0
    _unsent_bytes = 0
    _sent_at = 0.0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin: the first request is due."""
        super().connection_made(transport)
        self.headers = []
        self._grant()
        if len(self.connections) > (self.connections_max or connections_of(open_files_max())):
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what the client has asked for; uvicorn ends only the newest request."""
        self._disconnect(self._running)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, up to the bounds."""
        if self._due_at is None:
            self._grant()
        for start in range(0, len(data), PIECE_BYTES):
            if self._is_refused or self.transport.is_closing():
                return
            piece = data[start : start + PIECE_BYTES]
            self._unproductive_bytes += len(piece)
            super().data_received(piece)
            if self._is_too_long():
                self._refuse(431 if self._incomplete is None else 400)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser refused; called by uvicorn."""
        self._refuse(self._refusal_status)

    def on_message_begin(self) -> None:
        """Begin a request."""
        if len(self.pipeline) >= PIPELINED_MAX:
            raise ValueError("too many requests wait")
        super().on_message_begin()
        self._grant()

    def on_headers_complete(self) -> None:
        """Begin to serve the request; its body, if any, is due."""
        if self._is_too_long():
            self._refusal_status = 431
            raise ValueError("too many headers")
        super().on_headers_complete()
        self._incomplete = self.cycle
        # Trailers are read like headers, and dropped.
        self.headers = []
        self._unproductive_bytes = 0
        self._grant()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        super().on_body(body)
        self._unproductive_bytes = 0
        if self._due_at is not None:
            self._due_at += len(body) / BODY_BYTES_PER_SECOND

    def on_message_complete(self) -> None:
        """End the request: nothing is due."""
        super().on_message_complete()
        self._incomplete = None
        self._unproductive_bytes = 0
        self._due_at = None

    def resume_writing(self) -> None:
        """Note that the client reads."""
        super().resume_writing()
        self._sent_at = self.loop.time()

    def check_deadlines(self, now: float) -> None:
        """Refuse a request that does not come; disconnect a client that does not read."""
        if self._due_at is not None and not self.transport.is_closing():
            if self.flow.read_paused and not self._is_refused:
                # The application is late, not the client.
                self._grant()
            elif now > self._due_at:
                self._give_up()
        unsent_bytes = self.transport.get_write_buffer_size()
        if not 0 < self._unsent_bytes <= unsent_bytes:
            self._sent_at = now
        elif now > self._sent_at + self.patience_seconds:
            self.transport.abort()
        self._unsent_bytes = unsent_bytes

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _grant(self) -> None:
        self._granted_at = self.loop.time()
        self._due_at = self._granted_at + self.patience_seconds

    def _make_room(self) -> None:
        """Close those connections that have owed a request for the longest, or else this one.

        First those that have sent none: clients that mean no harm keep a connection for the next.
        """
        others = self.connections - {self}
        idle = [each for each in others if isinstance(each, BoundedHttp) and each._owes_request()]
        idle.sort(key=lambda each: (each._running is not None, each._granted_at))
        # Several at once: to look at all of them for each new client would take too long.
        for connection in idle[: 1 + len(idle) // 16]:
            connection.transport.abort()
        if not idle:
            self.transport.write(STATUS_LINE[503] + _TURNED_AWAY)
            self.transport.close()

    def _owes_request(self) -> bool:
        is_answered = self._running is None or self._running.response_complete
        return (is_answered or self._incomplete is not None) and not self.transport.is_closing()

    def _has_begun(self) -> bool:
        return self._unproductive_bytes > 0 or self._incomplete is not None

    def _is_too_long(self) -> bool:
        is_long = self._unproductive_bytes > UNPRODUCTIVE_MAX_BYTES
        return is_long or len(self.headers) > HEADERS_MAX

    def _give_up(self) -> None:
        if self._is_refused or not self._has_begun():
            self.transport.abort()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Answer with this status, or not at all behind a request that is not answered yet."""
        self._is_refused = True
        self._due_at = None
        self.headers.clear()
        running, refused = self._running, self._incomplete
        if refused is not None and self.pipeline:
            self.pipeline.popleft()
        if running is not None and running is not refused and not running.response_complete:
            # Earlier requests are answered first, and the connection ends with them.
            last = self.pipeline[0][0] if self.pipeline else running
            last.keep_alive = False
            return
        if refused is None or not refused.response_started:
            self.transport.write(
                STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
        self._disconnect(refused)
        # To close now would take the answer from a client that still sends (RFC 9112, 9.6).
        self.transport.write_eof()
        self._due_at = self.loop.time() + REFUSAL_SECONDS

    def _disconnect(self, cycle: RequestResponseCycle | None) -> None:
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
