"""Traces: spans of requests, attempts, provider calls, images and deliveries.

Off, spans cost nothing and OpenTelemetry is not imported. `shared.wiring` turns them on where
OTEL_EXPORTER_OTLP_ENDPOINT is set; `shared.adapters.open_telemetry` then makes and exports them.
A span never fails or delays the work that it describes.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Literal, Protocol, Self
from uuid import UUID

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | None]
"""None leaves an attribute out. Never a prompt, a key, a signed address or an error's message."""

AroundExport = Callable[[], AbstractContextManager[object]]

FLUSH_SECONDS = 1.0
"""How long the end of a process or of an invocation waits for its spans to be exported."""

DESTINATION = "image_generation"
"""The queue of jobs, by one name in both runtimes."""


_REQUEST_ID = re.compile(r"[\w.:;,=/+@-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a span belongs; without one, it is a part of the current span.

    Attributes:
        parent: The W3C `traceparent` of the span that it is a part of.
        trace_id: Of its trace where no parent is known, as 32 hexadecimal digits; None: a new one.
        span_id: Its own, as 16 hexadecimal digits, where others name it; None: a new one.
        links: The `traceparent` of each span that it follows from.
    """

    parent: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobTrace:
    """The trace of a job: that of the request that made it, or one named by the job's id.

    The ids of attempts follow from the job and the token, so that any process can link to them.

    Attributes:
        traceparent: As the job's row keeps it.
    """

    job_id: UUID
    traceparent: str | None

    @property
    def place(self) -> Place:
        """Where spans of the job belong."""
        return Place(self.traceparent, self.job_id.hex)

    def place_of(self, token: int) -> Place:
        """Return where the attempt with this token belongs; it follows the one before it."""
        links = (self.attempt(token - 1),) if token > 1 else ()
        return Place(self.traceparent, self.job_id.hex, self._span_id(token), links)

    def attempt(self, token: int) -> str:
        """Return the `traceparent` of the attempt with this token."""
        version, trace_id, _, flags = (self.traceparent or f"00-{self.job_id.hex}--01").split("-")
        return f"{version}-{trace_id}-{self._span_id(token)}-{flags}"

    def _span_id(self, token: int) -> str:
        return sha256(f"{self.job_id} {token}".encode()).hexdigest()[:16]


class Span(Protocol):
    """A span that is open."""

    @property
    def traceparent(self) -> str | None:
        """What names the span to others; None where traces are off."""
        ...

    @property
    def log_fields(self) -> Mapping[str, str]:
        """What lines of the log name it by."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def rename(self, name: str) -> None:
        """Give it another name."""
        ...

    def fail(self, error_type: str) -> None:
        """Mark it as failed, by an error code, a status or the name of a class."""
        ...


class Tracer(Protocol):
    """Makes spans and exports them.

    Attributes:
        around_export: Entered for the length of each export.
    """

    around_export: AroundExport

    def span(
        self, name: str, kind: Kind, attributes: Attributes, place: Place | None
    ) -> AbstractContextManager[Span]:
        """Open a span for the length of a block, as the current one; an error marks it."""
        ...

    def current(self) -> Span:
        """Return the span that is open in this thread or task."""
        ...

    def flush(self, seconds: float) -> None:
        """Export what has ended, and wait so long at most."""
        ...


class _Off:
    """A span and a tracer that do nothing."""

    traceparent = None
    log_fields: Mapping[str, str] = MappingProxyType({})
    around_export: AroundExport = nullcontext

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def note(self, attributes: Attributes) -> None:
        pass

    def rename(self, name: str) -> None:
        pass

    def fail(self, error_type: str) -> None:
        pass

    def span(self, name: str, kind: Kind, attributes: Attributes, place: Place | None) -> Self:
        return self

    def current(self) -> Self:
        return self

    def flush(self, seconds: float) -> None:
        pass


OFF = _Off()

_tracer: Tracer = OFF


def install(tracer: Tracer = OFF) -> None:
    """Have a tracer make all spans of this process; without one, none are made."""
    global _tracer
    _tracer = tracer


def is_on() -> bool:
    """Return whether this process makes spans."""
    return _tracer is not OFF


def span(
    name: str,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
    place: Place | None = None,
) -> AbstractContextManager[Span]:
    """Open a span for the length of a block."""
    return _tracer.span(name, kind, attributes or {}, place)


def current() -> Span:
    """Return the span that is open in this thread or task."""
    return _tracer.current()


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Export what has ended, and wait so long at most; what is left over is exported later."""
    _tracer.flush(seconds)


def export_within(around: AroundExport) -> None:
    """Enter a context for the length of each export in this process."""
    _tracer.around_export = around


def fit_request_id(given: object) -> str | None:
    """Return the id of a request as it was given; None if it does not fit into a row and a line."""
    return given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else None


def job_attributes(job_id: UUID, operation: Literal["create", "send", "process"]) -> Attributes:
    """Return what names a job and what is done with its message."""
    return {
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": DESTINATION,
        "darkroom.job.id": str(job_id),
    }
