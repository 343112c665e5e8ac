"""The route of a job's events: Server-Sent Events, as EventSource reads them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from shared.api.authorization import Access
from shared.api.context import Context
from shared.api.documentation import event_stream, problems
from shared.errors import InvalidRequest
from shared.events.event import FROM_THE_START, is_event_id, is_of_row

router = APIRouter(prefix="/v1/generations", tags=["generations"])


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: event_stream(
            "The events of the job. `id` is the id of the event, `data` a JSON object with its"
            " status, progress and message. Ends after the last event, or earlier; a client"
            " reconnects with the id of the last event it received."
        ),
        204: {"description": "There are no more events; do not reconnect."},
        **problems("not_found", "invalid_token", "expired_token", "too_many_streams"),
    },
)
async def follow_generation(
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
