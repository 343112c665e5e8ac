"""AWS Lambda entry: the FastAPI application behind API Gateway. Handler `functions.api.handler`.

Nothing here starts or ends with an invocation: the application, its services and the event
loop that Mangum runs it on live as long as the sandbox.
"""

import asyncio

from mangum import Mangum

from functions.secret_settings import load_function_settings
from shared.access.api_keys import ApiKeyStore
from shared.access.stream_slots import StreamSlots
from shared.adapters.sqs_queue import SqsDispatcher
from shared.api.app import create_app
from shared.api.parts import ApiParts, Threads
from shared.api.window_delivery import WindowDelivery
from shared.jobs.views import JobViews
from shared.logs import configure_logging
from shared.wiring import Services

THREADS = 2
"""A sandbox answers one request at a time."""

settings = load_function_settings()
configure_logging("lambda", settings.log_level)


def _build_parts() -> ApiParts:
    dispatcher = SqsDispatcher(settings)
    services = Services(settings, runtime="lambda", dispatcher=dispatcher, threads=THREADS)
    views = JobViews(services.engine)
    slots = StreamSlots(services.redis, settings.max_streams)
    return ApiParts(
        settings=settings,
        keys=ApiKeyStore(services.engine),
        submitter=services.submitter,
        canceller=services.canceller,
        deleter=services.deleter,
        assets=services.assets,
        jobs=services.jobs,
        views=views,
        image_store=services.image_store,
        delivery=WindowDelivery(services.follower, slots, settings.event_window_seconds),
        threads=Threads(THREADS),
        checks={
            "database": views.check,
            "redis": services.check_redis,
            "queue": dispatcher.check,
        },
    )


# Mangum runs every invocation on the loop that is current now.
asyncio.set_event_loop(asyncio.new_event_loop())
handler = Mangum(create_app(_build_parts()), lifespan="off")
