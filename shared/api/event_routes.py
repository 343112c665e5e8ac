"""The route of a job's events: Server-Sent Events, as EventSource reads them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from shared.api.authorization import Access
from shared.api.context import Context
from shared.api.documentation import problems
from shared.errors import InvalidRequest
from shared.events.event import FROM_THE_START, is_event_id, is_of_row
from shared.status import JobStatus

_STEP = {
    "type": "object",
    "required": ["status", "progress", "message"],
    "additionalProperties": False,
    "properties": {
        "status": {"enum": [status.value for status in JobStatus]},
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "message": {"type": "string"},
    },
}

_STREAM = {
    "description": (
        "Events: `id:` is that of the stream's entry, `data:` the JSON of the channel. Ends "
        "after the last event, or earlier; a client reconnects with the last id it received."
    ),
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "description": "One event.",
                "required": ["id", "data"],
                "properties": {
                    "id": {"type": "string", "pattern": "^[0-9]+-[0-9]+$"},
                    "data": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "contentSchema": _STEP,
                    },
                },
            }
        }
    },
}


router = APIRouter(prefix="/v1/generations", tags=["generations"])


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: _STREAM,
        204: {"description": "There are no more events; do not reconnect."},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def follow(
    api: Context,
    job_id: UUID,
    access: Access,
    last_event_id: Annotated[
        str | None, Query(max_length=64, description="As the header Last-Event-ID.")
    ] = None,
    last_event_id_header: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="The id of the last event received."),
    ] = None,
) -> Response:
    """Send the events after the last one received, then each new one, up to the last."""
    after_id = last_event_id_header or last_event_id or FROM_THE_START
    if not is_event_id(after_id):
        raise InvalidRequest("Last-Event-ID: must be the id of an event")
    workspace_id = await access.find_workspace(api.presenter.event_signer, job_id)
    job = await api.run(api.services.jobs.get, job_id, workspace_id)
    if is_of_row(after_id) and not job.status.is_terminal:
        # Made up: only a job that has ended has such an event.
        after_id = FROM_THE_START
    return await api.delivery.respond(job, after_id)
