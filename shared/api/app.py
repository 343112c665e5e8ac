"""The FastAPI application, which both runtimes serve: with uvicorn, and through Mangum."""

from fastapi import Depends, FastAPI

from shared.api import (
    asset_routes,
    generation_routes,
    page_routes,
    picture_routes,
    service_routes,
    token_routes,
    webhook_routes,
)
from shared.api.dependencies import ApiContext, refuse_unknown_parameters
from shared.api.documentation import DESCRIPTION, TAGS, install_document, operation_id
from shared.api.gate import Gate, ListedOrigins
from shared.api.openai import images_routes
from shared.api.openai.openai_errors import OpenAIErrors
from shared.api.operator import operator_routes
from shared.api.problems import install_problems
from shared.api.public_path import PublicPath
from shared.api.sse import EventDelivery
from shared.api.uploads import Uploads
from shared.wiring import Services

VERSION = "1"

_ROUTES = (
    generation_routes,
    asset_routes,
    picture_routes,
    webhook_routes,
    token_routes,
    operator_routes,
    service_routes,
    page_routes,
    images_routes,
)


def create_app(
    services: Services, delivery: EventDelivery, uploads: Uploads | None = None
) -> PublicPath | ListedOrigins:
    """Return the application; opens no connection, and has no start or end of its own.

    Its calls of servers run in the event loop's default executor.

    Args:
        services: Of this process.
        delivery: How events reach clients.
        uploads: Those of this process; None for the usual bounds.
    """
    services.prepare()
    app = FastAPI(
        title="Darkroom",
        version=VERSION,
        description=DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_tags=TAGS,
        servers=[{"url": services.settings.public_base_url or "/"}],
        generate_unique_id_function=operation_id,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(refuse_unknown_parameters)],
        # Its own instrumentation would wrap the sending of each event.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.context = ApiContext(services, delivery, uploads or Uploads())
    for routes in _ROUTES:
        app.include_router(routes.router)
    install_problems(app)
    install_document(app)
    return _guard(app, services)


def _guard(app: FastAPI, services: Services) -> PublicPath | ListedOrigins:
    settings = services.settings
    guarded = PublicPath(OpenAIErrors(Gate(app, settings)), settings.public_base_url)
    origins = settings.cors_origins
    if not origins:
        return guarded
    return ListedOrigins(
        guarded,
        allow_origins=origins,
        allow_methods=["DELETE", "GET", "PATCH", "POST"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "Last-Event-ID",
            "Prefer",
            "Traceparent",
            "X-Request-Id",
        ],
        expose_headers=[
            "Location",
            "Preference-Applied",
            "RateLimit",
            "RateLimit-Policy",
            "Retry-After",
            "X-Darkroom-Job",
            "X-Request-Id",
        ],
    )
