"""What the OpenAPI document says beyond the routes' own signatures."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.api.problems import MEDIA_TYPE
from shared.api.schemas import ProblemBody

EXAMPLE_ORDERS: Any = {
    "short": {
        "summary": "A prompt is enough",
        "value": {"prompt": "A ceramic mug on a wooden table, morning light"},
    },
    "full": {
        "summary": "Everything chosen",
        "value": {
            "prompt": "A ceramic mug",
            "style": "lifestyle",
            "size": "1024x1024",
            "n": 2,
            "seed": 7,
            "product_id": None,
            "metadata": {"order": "A-17"},
        },
    },
}

_MEANINGS = {
    400: "The body is not JSON.",
    401: "No valid API key, or an address whose token is not valid (any more).",
    403: "Without API keys only this machine is served.",
    404: "There is no such thing in this workspace.",
    409: "The job has not ended.",
    413: "The body is too large.",
    415: "The body is not declared to be JSON.",
    422: "Something in the request is not valid; `errors` names the fields.",
    429: "The workspace has reached a limit; Retry-After says when to come back.",
    503: "A server that is needed cannot be reached.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of the problems that a route may answer with."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


DESCRIPTION = """\
AI image generation as background jobs. Submit a prompt, follow the job live, get the images.

Errors are problem details (RFC 9457) with a stable `code`. Times are RFC 3339, in UTC.
"""


def install_document(app: FastAPI) -> None:
    """Have the application describe its problems, which FastAPI knows nothing of."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=DESCRIPTION,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            _add_problems(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # as FastAPI's documentation does


def _add_problems(schema: dict[str, Any]) -> None:
    own = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(own.pop("$defs", {}))
    schemas["ProblemBody"] = own
    # FastAPI's own shape of a refused request, which this API does not use.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
