"""The FastAPI application, which both runtimes serve: with uvicorn, and through Mangum."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from shared.api import (
    asset_routes,
    event_routes,
    generation_routes,
    page_routes,
    picture_routes,
    service_routes,
)
from shared.api.context import ApiContext, Threads
from shared.api.delivery import EventDelivery
from shared.api.documentation import install_document, operation_id
from shared.api.gate import Gate
from shared.api.problems import install_problems
from shared.wiring import Services

VERSION = "1"

_TAGS = [
    {"name": "generations", "description": "Jobs: submit, follow, read, list, cancel, delete."},
    {"name": "assets", "description": "Uploaded pictures, which jobs use as references."},
    {"name": "images", "description": "The pictures of jobs, and previews of them."},
    {"name": "service", "description": "Options of a request, and the health of the service."},
]

_ROUTES = (
    generation_routes,
    event_routes,
    asset_routes,
    picture_routes,
    service_routes,
    page_routes,
)


def create_app(
    services: Services, delivery: EventDelivery, threads: Threads
) -> Gate | CORSMiddleware:
    """Return the application; opens no connection, and has no start or end of its own."""
    services.prepare()
    app = FastAPI(
        title="Darkroom",
        version=VERSION,
        openapi_tags=_TAGS,
        generate_unique_id_function=operation_id,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Its own instrumentation would wrap the sending of each event.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.context = ApiContext(services, delivery, threads)
    for routes in _ROUTES:
        app.include_router(routes.router)
    install_problems(app)
    install_document(app, services.settings.public_base_url)
    return _guard(app, services)


def _guard(app: FastAPI, services: Services) -> Gate | CORSMiddleware:
    gate, origins = Gate(app, services.settings), services.settings.cors_origins
    if not origins:
        return gate
    return CORSMiddleware(
        gate,
        allow_origins=origins,
        allow_methods=["DELETE", "GET", "POST"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "Last-Event-ID",
            "Prefer",
        ],
        expose_headers=["Location", "Preference-Applied", "Retry-After"],
    )
