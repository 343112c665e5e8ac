"""AWS Lambda entry: the FastAPI application behind API Gateway. Handler `functions.api.handler`.

Nothing starts or ends with an invocation: the application, its services and the event loop that
Mangum runs it on live as long as the sandbox.
"""

import asyncio
from typing import Any

from mangum import Mangum

from functions import foreign_events
from functions.secret_settings import load_function_settings
from shared.adapters.sqs_queue import SqsDispatcher
from shared.api.app import create_app
from shared.api.context import Threads
from shared.api.window_delivery import WindowDelivery
from shared.logs import configure_logging
from shared.wiring import Services

THREADS = 2
"""A sandbox serves one request at a time."""

settings = load_function_settings()
configure_logging("lambda", settings.log_level)
services = Services(settings, runtime="lambda", dispatcher=SqsDispatcher(settings), threads=THREADS)
delivery = WindowDelivery(services.follower, services.stream_slots, settings.event_window_seconds)

# Mangum runs every invocation on the current loop.
asyncio.set_event_loop(asyncio.new_event_loop())
_serve = Mangum(create_app(services, delivery, Threads(THREADS)), lifespan="off")


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Serve a request of API Gateway."""
    if not foreign_events.is_request(event):
        return foreign_events.reject(event)
    return _serve(event, context)
