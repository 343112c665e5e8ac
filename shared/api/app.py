"""The FastAPI application: the same for uvicorn and for Mangum, around the parts it is given."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from shared.api import assets, events, generations, images, pages, previews, service
from shared.api.documentation import install_document
from shared.api.gate import Gate
from shared.api.parts import ApiParts
from shared.api.problems import install_problems

VERSION = "1"

_TAGS = [
    {"name": "generations", "description": "Jobs: submit, follow, read, list, cancel."},
    {"name": "assets", "description": "Pictures of your own, for jobs to show."},
    {"name": "images", "description": "The pictures of jobs, made and in the making."},
    {"name": "service", "description": "Presets, and how the service is."},
]


def create_app(parts: ApiParts) -> Gate | CORSMiddleware:
    """Return the application; connects to nothing, and has no start or end of its own."""
    app = build_routes(parts)
    gate = Gate(app, parts.settings)
    if not parts.settings.cors_origins:
        return gate
    return CORSMiddleware(
        gate,
        allow_origins=parts.settings.cors_origins,
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


def build_routes(parts: ApiParts) -> FastAPI:
    """Return the application without what every request passes."""
    app = FastAPI(
        title="Darkroom",
        version=VERSION,
        openapi_tags=_TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Its own instrumentation would stand between each event and its client.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.parts = parts
    for routes in (generations, events, assets, images, previews, service, pages):
        app.include_router(routes.router)
    install_problems(app)
    install_document(app)
    return app
