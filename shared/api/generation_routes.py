"""Routes of jobs: submit, read, list, cancel, delete."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Header, Query, Response
from pydantic import AfterValidator, BeforeValidator

from shared.api.authorization import CallerOf
from shared.api.context import ApiContext, Context
from shared.api.documentation import examples, problems
from shared.api.presenter import json_response
from shared.api.schemas import JobBody, PageBody
from shared.errors import InvalidRequest
from shared.imaging.request import GenerationRequest, ImageOrder, OwnerId
from shared.jobs.job_store import Terms
from shared.jobs.model import Job
from shared.jobs.views import JobView, PageQuery
from shared.status import JobStatus

WAIT_MAX_SECONDS = 25.0
"""The longest that `Prefer: wait` may wait; API Gateway gives up after 30 s."""

PAGE_MAX = 100

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"\bwait\s*=\s*\"?([0-9]{1,6})\"?", re.IGNORECASE)


def _check_moment(text: object) -> object:
    # pydantic reads a bare number as seconds since 1970.
    if isinstance(text, str) and re.match(r"[0-9]{4}-[0-9]{2}-", text) is None:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    return text


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, BeforeValidator(_check_moment), AfterValidator(_in_utc)]

_ORDERS: Any = {
    "short": {"summary": "A prompt is enough", "value": {"prompt": "A ceramic mug"}},
    "full": {
        "summary": "Everything chosen",
        "value": {
            "prompt": "A ceramic mug on a wooden table, morning light",
            "style": "lifestyle",
            "size": "1024x1024",
            "n": 2,
            "seed": 7,
            "metadata": {"order": "A-17"},
        },
    },
}

PreferHeader = Annotated[
    str | None,
    Header(description="`wait=20`: respond when the job has ended, or after 20 s (at most 25 s)."),
]


router = APIRouter(prefix="/v1/generations", tags=["generations"])


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    response_model=JobBody,
    responses={
        202: examples("The job was accepted.", "queued"),
        200: {
            "model": JobBody,
            **examples("The job ended during the wait.", "completed", "failed"),
        },
        **problems(
            *("malformed_json", "payload_too_large", "unsupported_media_type"),
            *("idempotency_key_reused", "too_many_open_jobs"),
            invalid_request="n should be less than or equal to 10",
        ),
    },
)
async def create_generation(
    api: Context,
    caller: CallerOf,
    order: Annotated[ImageOrder, Body(openapi_examples=_ORDERS)],
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=255,
            description="The same key and body return the same job, for 24 hours.",
        ),
    ] = None,
    prefer: PreferHeader = None,
) -> Response:
    """Accept a request. Its job runs in the background, whatever happens to the API."""
    terms = _terms_of(order, idempotency_key, api.settings.max_open_jobs)
    request = GenerationRequest.model_construct(
        **dict(order), workspace_id=caller.workspace_id, user_id=None
    )
    accepted = await api.run(api.services.submitter.submit_on, request, terms)
    job = accepted.job
    headers = {"Location": api.presenter.path_of(job.id)}
    has_waited = await _wait(api, job, prefer, headers)
    if accepted.is_new and not has_waited:
        view = JobView(job)
    else:
        view = await api.run(api.services.views.get, job.id, caller.workspace_id)
    status = 200 if has_waited and view.job.status.is_terminal else 202
    return json_response(api.presenter.show(view), status, headers)


@router.get(
    "",
    summary="List jobs",
    response_model=PageBody,
    responses={
        200: examples("One page.", "page"),
        **problems(invalid_request="limit should be less than or equal to 100"),
    },
)
async def list_generations(
    api: Context,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Jobs of a page.")] = 20,
    cursor: Annotated[
        str | None, Query(max_length=200, description="The `next_cursor` of the page before.")
    ] = None,
    status: Annotated[
        list[JobStatus] | None, Query(description="Only these; may be given several times.")
    ] = None,
    product_id: Annotated[OwnerId | None, Query(description="Only of this product.")] = None,
    created_after: Annotated[Moment | None, Query(description="Later than this.")] = None,
    created_before: Annotated[Moment | None, Query(description="Earlier than this.")] = None,
) -> Response:
    """Return one page of jobs, newest first. New jobs do not move those of later pages."""
    before = None if cursor is None else _read_cursor(cursor)
    query = PageQuery(limit + 1, status, product_id, created_after, created_before, before)
    found = await api.run(api.services.views.page, caller.workspace_id, query)
    items = [api.presenter.show(view) for view in found[:limit]]
    next_cursor = _write_cursor(found[limit - 1].job) if len(found) > limit else None
    return json_response(PageBody(items=items, next_cursor=next_cursor))


@router.get(
    "/{job_id}",
    summary="Get a job",
    response_model=JobBody,
    responses={
        200: examples("The job.", "running", "waiting", "completed", "failed"),
        **problems("not_found"),
    },
)
async def get_generation(
    api: Context, job_id: UUID, caller: CallerOf, prefer: PreferHeader = None
) -> Response:
    """Return a job, with new signed addresses."""
    view = await api.run(api.services.views.get, job_id, caller.workspace_id)
    headers: dict[str, str] = {}
    if not view.job.status.is_terminal and await _wait(api, view.job, prefer, headers):
        view = await api.run(api.services.views.get, job_id, caller.workspace_id)
    return json_response(api.presenter.show(view), 200, headers)


@router.post(
    "/{job_id}/cancel",
    status_code=200,
    summary="Cancel a job",
    response_model=JobBody,
    responses={
        200: examples("The job has ended.", "cancelled", "completed"),
        202: {"model": JobBody, **examples("The job ends at its next step.", "running")},
        **problems("not_found", "payload_too_large", "unsupported_media_type"),
    },
)
async def cancel_generation(api: Context, job_id: UUID, caller: CallerOf) -> Response:
    """Request the end of a job. A job that has ended stays as it is."""
    await api.run(api.services.canceller.cancel, job_id, caller.workspace_id)
    view = await api.run(api.services.views.get, job_id, caller.workspace_id)
    return json_response(api.presenter.show(view), 200 if view.job.status.is_terminal else 202)


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Delete a job",
    responses={
        204: {"description": "The job is deleted."},
        **problems("not_found", "job_running"),
    },
)
async def delete_generation(api: Context, job_id: UUID, caller: CallerOf) -> Response:
    """Delete a job that has ended, with its attempts and its images."""
    await api.run(api.services.deleter.delete, job_id, caller.workspace_id)
    return Response(status_code=204)


def _terms_of(order: ImageOrder, key: str | None, open_limit: int) -> Terms:
    if key is None:
        return Terms(open_limit)
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise InvalidRequest("Idempotency-Key: must be 1 to 255 visible ASCII characters")
    # Another order of the fields, or of the keys of the metadata, is the same request.
    canonical = json.dumps(order.model_dump(mode="json"), sort_keys=True)
    return Terms(open_limit, key, sha256(canonical.encode()).hexdigest())


async def _wait(api: ApiContext, job: Job, prefer: str | None, headers: dict[str, str]) -> bool:
    """Wait for the end of a job as a Prefer header asks (RFC 7240, section 4.3); False if not."""
    found = _WAIT.search(prefer or "")
    if found is None:
        return False
    seconds = min(float(found.group(1)), WAIT_MAX_SECONDS)
    await api.delivery.wait_for_end(job, seconds)
    headers["Preference-Applied"] = f"wait={seconds:g}"
    return True


def _write_cursor(job: Job) -> str:
    text = f"{job.created_at.isoformat()} {job.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, job_id = text.partition(" ")
        created_at = datetime.fromisoformat(moment)
        if created_at.tzinfo is None:
            raise ValueError("no time zone")
        return created_at, UUID(job_id)
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest("cursor: must be the next_cursor of a page") from error
