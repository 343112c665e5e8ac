"""What names a request: its id, for its answer and every line of its log, and its span."""

from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.types import Scope

from shared import tracing
from shared.tracing import Place, Span, fit_request_id

REQUEST_ID = "x-request-id"

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def request_id_of(headers: Headers) -> str:
    """Return the id that a client gave its request; a new one if it gave none, or no fit one."""
    return fit_request_id(headers.get(REQUEST_ID)) or f"req_{uuid4().hex}"


def request_span(scope: Scope, headers: Headers) -> AbstractContextManager[Span]:
    """Open the span of a request, as a part of the one that its `traceparent` names.

    The query is left out: it may hold a token.
    """
    parent = headers.get("traceparent")
    place = None if parent is None else Place(parent)
    attributes = {
        "http.request.method": _method_of(scope),
        "url.scheme": scope.get("scheme"),
        "url.path": scope["path"][:200],
        "network.protocol.version": scope.get("http_version"),
    }
    return tracing.span(_method_of(scope), "server", attributes, place)


def note_response(span: Span, scope: Scope, route: Any, status: int) -> None:
    """Name the span by its route, and note how the request was answered."""
    path = getattr(route, "path", None)
    if path is not None:
        span.rename(f"{_method_of(scope)} {path}")
    span.note({"http.route": path, "http.response.status_code": status})
    if status >= 500:
        span.fail(str(status))


def _method_of(scope: Scope) -> str:
    method = scope["method"]
    return method if method in _METHODS else "_OTHER"
