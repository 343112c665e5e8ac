"""What the OpenAPI document says beyond the signatures of the routes: problems and examples."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic.alias_generators import to_camel

from shared import errors
from shared.access.api_keys import InsufficientScope
from shared.access.request_rates import TooManyRequests
from shared.access.signatures import ExpiredToken, InvalidToken
from shared.api.problem_codes import PROBLEMS
from shared.api.problems import INTERNAL, MEDIA_TYPE, UNAVAILABLE, problem_body
from shared.api.schemas import EventBody, JobBody, ProblemBody
from shared.api.uploads import TooManyUploads

Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = """\
AI image generation as background jobs: submit a prompt, follow the job live, get the images.

Errors are problem details (RFC 9457) with a stable `code`. Times are RFC 3339, in UTC.
"""

TAGS = [
    {"name": "generations", "description": "Jobs: submit, follow, read, list, cancel, delete."},
    {"name": "assets", "description": "Uploaded pictures, which jobs use as references."},
    {"name": "images", "description": "The pictures of jobs, and previews of them."},
    {"name": "webhooks", "description": "Who learns of events of jobs, and what was delivered."},
    {"name": "tokens", "description": "What pages of end users hold instead of an API key."},
    {"name": "operator", "description": "All workspaces, for keys with the scope `admin`."},
    {"name": "service", "description": "Options of a request, and the health of the service."},
]

_EXAMPLES = json.loads((Path(__file__).parent / "examples.json").read_text("utf-8"))
ORDERS = _EXAMPLES["orders"]

_JOB_ID = "7d1f0a52-9c0b-4c39-8f53-2b0b8f0d5a11"
_ASSET_ID = "5f0c7c1e-3c52-4b58-9a0e-0d6f2f7f6f11"

_DETAILS: Mapping[str, str] = {
    "malformed_json": "the body is not JSON: Expecting value",
    "unauthorized": "this API key is not valid",
    "insufficient_scope": str(InsufficientScope(["read"])),
    "forbidden": "without API keys (REQUIRE_API_KEYS) only this machine is served",
    "invalid_request": "job_id should be a valid UUID, invalid length",
    "request_timeout": "the body must arrive within 120 s",
    "payload_too_large": "the body may have 262144 bytes",
    "unsupported_media_type": "send the body as Content-Type: application/json",
    "internal": INTERNAL,
    "service_unavailable": UNAVAILABLE,
    "storage_unavailable": UNAVAILABLE,
    "not_found": str(errors.UnknownJob(_JOB_ID)),
    **{
        error.code: str(error)
        for error in (
            InvalidToken(),
            ExpiredToken(),
            errors.JobRuns(_JOB_ID),
            errors.AssetInUse(_ASSET_ID),
            errors.IdempotencyKeyReused(_JOB_ID),
            errors.JobDeleted(_JOB_ID),
            errors.TooManyOpenJobs(500, 5),
            errors.TooManySubmissions(60, 34),
            errors.BudgetExceeded(5_000_000, 40_000),
            errors.TooManyStreams(1_000, 15),
            TooManyRequests(600, 41),
            TooManyUploads(32, 2),
            errors.TooManyAssets(10_000, 60),
        )
    },
}
_COMMON = (
    *("unauthorized", "forbidden", "insufficient_scope", "invalid_request"),
    *("too_many_requests", "service_unavailable"),
)
_RETRY_AFTER = {
    "description": "Seconds to wait before the next request.",
    "schema": {"type": "integer"},
}
QUOTA_HEADERS = {
    "RateLimit-Policy": {
        "description": "Limits of the workspace and the key: `q` at once, or in each `w` seconds.",
        "schema": {"type": "string", "examples": ['"open-jobs";q=500, "submissions";q=60;w=60']},
    },
    "RateLimit": {
        "description": "What is left of each limit, and the seconds until all of it is back.",
        "schema": {"type": "string", "examples": ['"open-jobs";r=498, "submissions";r=58;t=34']},
    },
}


def problems(*codes: str, **details: str) -> Responses:
    """Return the responses with these problems, and with those of every route of a workspace.

    `details` are examples of `detail` of this route, by code.
    """
    responses: Responses = {}
    for code in sorted({*_COMMON, *codes}, key=list(PROBLEMS).index):
        status, title = PROBLEMS[code]
        response = responses.setdefault(status, _response_with_problem(status))
        known = response.get("description")
        lower = f"{title[:1].lower()}{title[1:]}" if title[1:2].islower() else title
        response["description"] = f"{known[:-1]}, or {lower}." if known else f"{title}."
        body = problem_body(code, details.get(code, _DETAILS[code]))
        if code == "invalid_request":
            name, _, text = body["detail"].partition(" ")
            body["errors"] = [{"field": name, "message": text}]
        response["content"][MEDIA_TYPE]["examples"][code] = {"summary": title, "value": body}
    return responses


def problems_of(thing: str, *codes: str) -> Responses:
    """Return the responses of a route whose path has the id of such a thing."""
    missing, malformed = f"no {thing} '{_ASSET_ID}'", _DETAILS["invalid_request"]
    malformed = malformed.replace("job_id", f"{thing}_id")
    return problems("not_found", *codes, not_found=missing, invalid_request=malformed)


def _response_with_problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    response: dict[str, Any] = {"content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}
    headers = {
        429: {"Retry-After": _RETRY_AFTER, **QUOTA_HEADERS},
        503: {"Retry-After": _RETRY_AFTER},
    }
    return response | ({"headers": headers[status]} if status in headers else {})


def examples(description: str, *names: str) -> dict[str, Any]:
    """Return a response with example bodies, by their names in examples.json."""
    shown = {name: {"summary": name.title()} for name in names}
    return {"description": description, "content": {"application/json": {"examples": shown}}}


def event_stream(description: str) -> dict[str, Any]:
    """Return the response with an event stream."""
    content = {
        # A keyword of OpenAPI 3.2, which FastAPI, too, writes into documents of version 3.1.
        "itemSchema": {
            "type": "object",
            "required": ["data"],
            "properties": {
                "id": {"type": "string", "pattern": "^[0-9]+-[0-9]+$"},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"$ref": "#/components/schemas/EventBody"},
                },
                "retry": {"type": "integer", "minimum": 0},
            },
        },
        "examples": {"events": {"summary": "Two events"}},
    }
    return {"description": description, "content": {"text/event-stream": content}}


def operation_id(route: APIRoute) -> str:
    """Return the id of a route's operation: the name of its function, in camel case."""
    return to_camel(route.name)


def install_document(app: FastAPI) -> None:
    """Make the application describe its problems, its events, and its answers by examples."""

    def document() -> dict[str, Any]:
        is_new, schema = app.openapi_schema is None, FastAPI.openapi(app)
        if is_new:
            _adapt_schemas(schema["components"]["schemas"])
            _add_examples(schema["paths"])
        return schema

    app.openapi = document  # type: ignore[method-assign] # as FastAPI's documentation does


def _adapt_schemas(schemas: dict[str, Any]) -> None:
    for model in (ProblemBody, EventBody):
        own = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(own.pop("$defs", {}))
        schemas[model.__name__] = own
    # FastAPI's own shape of a refused request, which this API does not use.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    # Generators of clients take a property with a default for one that is always there.
    for name in ("ImageOrder", "WebhookOrder", "WebhookChangeOrder", "WorkspaceOrder"):
        for field in schemas[name]["properties"].values():
            default = field.pop("default", None)
            if default not in (None, {}):
                field["description"] += f" Default: {json.dumps(default)}."


def example_jobs() -> Mapping[str, dict[str, Any]]:
    """Return a job in each of its states, by the names of examples.json.

    A field that the file leaves out has the first example of its declaration, or else is null.
    """
    blank = {name: (field.examples or [None])[0] for name, field in JobBody.model_fields.items()}
    job = blank | _EXAMPLES["job"]
    return {name: job | changes for name, changes in _EXAMPLES["jobs"].items()}


def _add_examples(paths: dict[str, Any]) -> None:
    # FastAPI drops each null of an example that it is given.
    jobs = example_jobs()
    page = _EXAMPLES["page"] | {"items": [jobs["completed"]]}
    asset_page = {"items": [_EXAMPLES["asset"]], "next_cursor": None}
    operator_job = _EXAMPLES["operator_job"] | {"job": jobs["completed"]}
    pages = {"page": page, "asset_page": asset_page, "operator_job": operator_job}
    bodies = _EXAMPLES | jobs | pages
    operations = (operation for path in paths.values() for operation in path.values())
    for operation in operations:
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                for name, shown in content.get("examples", {}).items():
                    shown.setdefault("value", bodies.get(name))
