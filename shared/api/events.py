"""The route of a job's events: Server-Sent Events, for EventSource and everybody else."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from shared.api.authorization import Credentials, find_workspace
from shared.api.delivery import EventDelivery
from shared.api.documentation import problems
from shared.api.parts import Parts
from shared.errors import InvalidRequest
from shared.events.event import FROM_THE_START, is_event_id, is_of_row
from shared.jobs.model import Job
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
        "Events: `id:` of the stream's entry, `data:` exactly the JSON of the channel. Ends "
        "after the last one, or earlier: whoever comes back with the last id goes on there."
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
        204: {"description": "Everything was heard: do not come back."},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def follow(
    parts: Parts,
    job_id: UUID,
    credentials: Credentials,
    token: Annotated[
        str | None, Query(max_length=200, description="As in the job's `urls.events`.")
    ] = None,
    last_event_id: Annotated[
        str | None, Query(max_length=64, description="As the header Last-Event-ID.")
    ] = None,
    last_event_id_header: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="The last event that was received."),
    ] = None,
) -> Response:
    """Send everything after the last event received, then what comes, up to the last."""
    after_id = last_event_id_header or last_event_id or FROM_THE_START
    if not is_event_id(after_id):
        raise InvalidRequest("Last-Event-ID: must be the id of an event")
    signer = parts.representer.event_signer
    workspace_id = await find_workspace(parts, signer, job_id, token, credentials)
    job = await parts.threads.run(parts.jobs.get, job_id, workspace_id)
    return await respond(parts.delivery, job, after_id)


async def respond(delivery: EventDelivery, job: Job, after_id: str) -> Response:
    """Answer with the events after the given one."""
    if is_of_row(after_id) and not job.status.is_terminal:
        # Made up: nobody was ever told the end of a job that runs.
        after_id = FROM_THE_START
    return await delivery.respond(job, after_id)
