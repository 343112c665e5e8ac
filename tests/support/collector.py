"""A collector of OpenTelemetry on this machine: receives traces by OTLP over HTTP."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.loopback_server import LoopbackServer, read_whole


@dataclass(frozen=True)
class ReceivedSpan:
    """One span as it came.

    Attributes:
        parent: The id of its parent; empty for a root.
        links: The ids of the spans that it links to.
        resource: What made it.
    """

    trace_id: str
    id: str
    parent: str
    name: str
    kind: str
    links: tuple[str, ...]
    attributes: Mapping[str, Any]
    is_error: bool
    began_ns: int
    resource: Mapping[str, Any]


class Collector(LoopbackServer):
    """Keeps every span that it takes.

    Attributes:
        manner: `takes`, `hangs` (never answers) or `drops` (cuts the connection).
        headers: Of the last request.
        bodies: What came, as it came.
        ports: Of the client, for each of them: one for each connection.
    """

    def __init__(self) -> None:
        self._changed = threading.Lock()
        self._spans: dict[str, ReceivedSpan] = {}
        self.manner = "takes"
        self.headers: Mapping[str, str] = {}
        self.bodies: list[bytes] = []
        self.ports: list[int] = []
        super().__init__(self._handler())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = read_whole(self)
                if collector.manner != "takes":
                    collector.stopped.wait(60 if collector.manner == "hangs" else 0)
                    self.close_connection = True
                    return
                assert self.path == "/v1/traces", self.path
                collector.ports.append(self.client_address[1])
                collector.take(body, {name.lower(): text for name, text in self.headers.items()})
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Keep what one request brings."""
        request = ExportTraceServiceRequest.FromString(body)
        found = [
            _read(span, _values(of_resource.resource.attributes))
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]
        with self._changed:
            self.headers = headers
            self.bodies.append(body)
            self._spans.update((span.id, span) for span in found)

    def spans(self, trace_id: str) -> list[ReceivedSpan]:
        """Return the spans of a trace so far, in the order of their starts."""
        with self._changed:
            found = [span for span in self._spans.values() if span.trace_id == trace_id]
        return sorted(found, key=lambda span: span.began_ns)

    def tree(self, trace_id: str, root: str = "") -> list[Any]:
        """Return the spans below one as `[name, [spans below it]]`, in the order of their starts.

        Args:
            trace_id: Of the trace.
            root: The id of a span; empty for the roots of the trace.
        """
        return [
            [span.name, self.tree(trace_id, span.id)] if self._has_parts(span) else span.name
            for span in self.spans(trace_id)
            if span.parent == root
        ]

    def _has_parts(self, span: ReceivedSpan) -> bool:
        return any(each.parent == span.id for each in self.spans(span.trace_id))


def _read(span: trace_pb2.Span, resource: Mapping[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        tuple(link.span_id.hex() for link in span.links),
        _values(span.attributes),
        span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        span.start_time_unix_nano,
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
