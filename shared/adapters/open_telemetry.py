"""Makes spans with OpenTelemetry's SDK, and exports them by OTLP over HTTP.

Implements `shared.tracing.Tracer`. The SDK reads its own settings from the environment: OTEL_BSP_*,
OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES and the others of the specification.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

from shared import __version__, tracing
from shared.errors import DarkroomError
from shared.settings import Settings
from shared.tracing import OFF, AroundExport, Attributes, Kind, Place, Span

log = structlog.get_logger(__name__)

_W3C = TraceContextTextMapPropagator()
_ids: ContextVar[Place | None] = ContextVar("darkroom_ids", default=None)


class OtlpTracer:
    """The spans of one process after another: a fork begins anew, with a thread of its own.

    Attributes:
        around_export: Entered for the length of each export.
    """

    def __init__(self, settings: Settings) -> None:
        self._endpoint = f"{settings.otel_exporter_otlp_endpoint}/v1/traces"
        headers = settings.otel_exporter_otlp_headers
        self._headers = parse_env_headers(headers.get_secret_value() if headers else "", True)
        self.around_export: AroundExport = nullcontext
        self._forget()

    def _forget(self) -> None:
        # A lock that a fork caught held would stay held in the child.
        self._lock = threading.Lock()
        self._made: _Pipeline | None = None
        self._flushing: threading.Thread | None = None

    @contextmanager
    def span(
        self, name: str, kind: Kind, attributes: Attributes, place: Place | None
    ) -> Iterator[Span]:
        """Open a span for the length of a block; see the port."""
        try:
            opened = self._start(name, kind, attributes, place)
        except Exception:  # Traces fail nothing.
            log.exception("span not made")
            yield OFF
            return
        with trace.use_span(opened, True, record_exception=False, set_status_on_exception=False):
            own = _OpenSpan(opened)
            try:
                yield own
            except BaseException as error:
                own.fail(error.code if isinstance(error, DarkroomError) else type(error).__name__)
                raise

    def current(self) -> Span:
        """Return the span that is open in this thread or task."""
        return _OpenSpan(trace.get_current_span())

    def flush(self, seconds: float) -> None:
        """Export what has ended; see the port. Does not wait for an answer that is overdue."""
        is_overdue = self._flushing is not None and self._flushing.is_alive()
        if self._made is None or is_overdue:
            return
        self._flushing = threading.Thread(target=self._made.processor.force_flush, daemon=True)
        self._flushing.start()
        self._flushing.join(seconds)

    def _start(
        self, name: str, kind: Kind, attributes: Attributes, place: Place | None
    ) -> trace.Span:
        context = None if place is None else _context_of(place.parent)
        named = _ids.set(place)
        try:
            return self._pipeline().tracer.start_span(
                name,
                context,
                SpanKind[kind.upper()],
                {name: value for name, value in attributes.items() if value is not None},
                [Link(_named(each)) for each in (place.links if place else ())],
            )
        finally:
            _ids.reset(named)

    def _pipeline(self) -> "_Pipeline":
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> "_Pipeline":
        exporter = OTLPSpanExporter(self._endpoint, headers=self._headers)
        processor = BatchSpanProcessor(_Export(exporter, lambda: self.around_export()))
        own = Resource({"service.name": "darkroom", "service.version": __version__})
        provider = TracerProvider(
            resource=own.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
            id_generator=_Ids(),
        )
        provider.add_span_processor(processor)
        made = _Pipeline(provider.get_tracer("darkroom", __version__), processor)

        def leave_to_parent() -> None:
            # The SDK's own hook has started a thread in the child, on the parent's connection.
            processor.shutdown()  # type: ignore[no-untyped-call] # the SDK leaves it out
            if self._made is made:
                self._forget()

        os.register_at_fork(after_in_child=leave_to_parent)
        return made


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """What one process makes spans with."""

    tracer: trace.Tracer
    processor: BatchSpanProcessor


class _OpenSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        named = self._span.get_span_context()
        if not named.is_valid:
            return None
        return f"00-{named.trace_id:032x}-{named.span_id:016x}-{named.trace_flags:02x}"

    @property
    def log_fields(self) -> Mapping[str, str]:
        named = self._span.get_span_context()
        return {"trace_id": f"{named.trace_id:032x}"} if named.is_valid else {}

    def note(self, attributes: Attributes) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, error_type: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(Status(StatusCode.ERROR))


class _Ids(RandomIdGenerator):
    """Ids from the system: sandboxes that begin as clones would draw the same from `random`."""

    def generate_span_id(self) -> int:
        place = _ids.get()
        given = place.span_id if place else None
        return int(given, 16) if given else int.from_bytes(os.urandom(8)) or 1

    def generate_trace_id(self) -> int:
        place = _ids.get()
        given = place.trace_id if place else None
        return int(given, 16) if given else int.from_bytes(os.urandom(16)) or 1


class _Export(SpanExporter):
    """Exports in the background; logs once that it fails, and once that it works again."""

    def __init__(self, exporter: SpanExporter, around: AroundExport) -> None:
        self._exporter = exporter
        self._around = around
        self._fails = False
        self._pid = os.getpid()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._around():
            result = self._exporter.export(spans)
            fails = result is not SpanExportResult.SUCCESS
            if fails and not self._fails:
                log.warning("traces not exported", spans=len(spans))
            elif self._fails and not fails:
                log.info("traces exported again")
            self._fails = fails
        return result

    def shutdown(self) -> None:
        if self._pid == os.getpid():
            self._exporter.shutdown()


def _context_of(traceparent: str | None) -> Context:
    """Return the context of a span that another process names; an empty one if none is valid."""
    return _W3C.extract({"traceparent": traceparent or ""}, Context())


def _named(traceparent: str) -> SpanContext:
    return trace.get_current_span(_context_of(traceparent)).get_span_context()


def start_tracing(settings: Settings) -> None:
    """Have this process and its children make spans, unless they do already."""
    if tracing.is_on():
        return
    # The exporter imports them at its first use: then each child of a worker would hold its own.
    for name in ("netrc", "requests"):
        import_module(name)
    # `_Export` logs instead, without a line for each batch.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    tracing.install(OtlpTracer(settings))
