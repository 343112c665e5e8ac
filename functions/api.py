"""AWS Lambda entry: the FastAPI application behind API Gateway. Handler `functions.api.handler`.

HTTP APIs, REST APIs, function URLs and Application Load Balancers may stand in front of it.

Nothing starts or ends with an invocation: the application, its services and the event loop that
Mangum runs it on live as long as the sandbox.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from mangum.handlers import ALB, APIGateway, HTTPGateway
from starlette.types import Receive, Scope, Send

from functions import foreign_events
from functions.secret_settings import load_function_settings
from shared import tracing
from shared.access.stream_slots import (
    UPLOADS,
    StreamSlots,
    streams_on_sandboxes,
    uploads_on_sandboxes,
)
from shared.adapters.sqs_queue import SqsDispatcher
from shared.api.app import create_app
from shared.api.openai.openai_errors import RECEIVED_AT
from shared.api.sse_window import WindowDelivery
from shared.api.uploads import UPLOADS_MAX, Uploads
from shared.logs import configure_logging
from shared.wiring import Services

THREADS = 2
"""A sandbox serves one request at a time."""


class _AnyHost:
    """Reads an event whatever its Host is: Mangum splits it at each colon, and raises."""

    event: Any

    @property
    def scope(self) -> Any:
        """The request (ASGI)."""
        event, hosts, without = self.event, [], {}
        for kind in ("headers", "multiValueHeaders"):
            if event.get(kind) is not None:
                headers = {name.lower(): value for name, value in event[kind].items()}
                hosts.append(headers.pop("host", None))
                without[kind] = headers
        self.event = {**event, **without}
        scope = super().scope  # type: ignore[misc]
        self.event = event
        for host in filter(None, hosts[-1:]):
            name = host[-1] if isinstance(host, list) else host
            scope["headers"].append([b"host", name.encode()])
        return scope


class _Balancer(_AnyHost, ALB):
    """Requests of an Application Load Balancer."""


class _HttpApi(_AnyHost, HTTPGateway):
    """Requests of an HTTP API or of a function URL."""


class _RestApi(_AnyHost, APIGateway):
    """Requests of a REST API."""


settings = load_function_settings()
configure_logging("lambda", settings.log_level)
services = Services(settings, runtime="lambda", dispatcher=SqsDispatcher(settings), threads=THREADS)
services.refuse_cluster_mode()
streams_max = streams_on_sandboxes(settings.max_streams, settings.api_concurrency)
slots = StreamSlots(services.redis, streams_max, prefix=settings.redis_prefix)
delivery = WindowDelivery(services.follower, slots, settings.event_window_seconds)
uploads_max = uploads_on_sandboxes(UPLOADS_MAX, settings.api_concurrency)
uploads = Uploads(slots=StreamSlots(services.redis, uploads_max, UPLOADS, settings.redis_prefix))

# Mangum runs every invocation on the current loop.
loop = asyncio.new_event_loop()
loop.set_default_executor(ThreadPoolExecutor(THREADS))
asyncio.set_event_loop(loop)
_app = create_app(services, delivery, uploads)


async def _serve_received(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request as of the moment when API Gateway received it: a sandbox takes seconds."""
    context = scope["aws.event"]["requestContext"]
    received_ms = context.get("timeEpoch") or context.get("requestTimeEpoch")
    received = {RECEIVED_AT: received_ms / 1000} if received_ms else {}
    await _app({**scope, **received}, receive, send)


_serve = Mangum(
    _serve_received,
    lifespan="off",
    custom_handlers=[_Balancer, _HttpApi, _RestApi],
    # A REST API hands on what is encoded as it is, unless it is configured for all types.
    text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, "application/problem+json", "image/svg+xml"],
)


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Serve a request of whatever stands in front."""
    if not foreign_events.is_request(event):
        return foreign_events.reject(event)
    try:
        return _serve(event, context)
    finally:
        tracing.flush()
