"""Routes of jobs: submit, read, list, cancel."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Header, Query, Response
from pydantic import BeforeValidator

from shared.api.authorization import CallerOf
from shared.api.documentation import EXAMPLE_ORDERS, problems
from shared.api.parts import Parts
from shared.api.schemas import JobBody, PageBody
from shared.errors import InvalidRequest
from shared.imaging.request import GenerationRequest, ImageOrder, OwnerId
from shared.jobs.store import Terms
from shared.jobs.views import JobView, PageQuery
from shared.status import JobStatus

WAIT_MAX_SECONDS = 25.0
"""What `Prefer: wait` may ask for; below the 30 s after which API Gateway gives up."""

PAGE_MAX = 100

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"\bwait\s*=\s*\"?([0-9]{1,6})\"?", re.IGNORECASE)


def _check_moment(text: object) -> object:
    # pydantic takes a bare number for seconds since 1970.
    if isinstance(text, str) and re.match(r"[0-9]{4}-[0-9]{2}-", text) is None:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    return text


Moment = Annotated[datetime, BeforeValidator(_check_moment)]

PreferHeader = Annotated[
    str | None, Header(description="`wait=20`: answer when the job has ended, or after 20 s.")
]


router = APIRouter(prefix="/v1/generations", tags=["generations"])


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    response_model=JobBody,
    responses={
        200: {"model": JobBody, "description": "Accepted, and ended while it was waited for."},
        **problems(400, 401, 403, 413, 415, 422, 429, 503),
    },
)
async def submit(
    parts: Parts,
    caller: CallerOf,
    order: Annotated[ImageOrder, Body(openapi_examples=EXAMPLE_ORDERS)],
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=255,
            description="The same key and body give the same job, for 24 hours.",
        ),
    ] = None,
    prefer: PreferHeader = None,
) -> Response:
    """Accept a request. Its job runs in the background, whatever happens to this process."""
    terms = _terms_of(order, idempotency_key, parts.settings.max_open_jobs)
    request = GenerationRequest.model_construct(
        **dict(order), workspace_id=caller.workspace_id, user_id=None
    )
    accepted = await parts.threads.run(parts.submitter.submit_on, request, terms)
    job = accepted.job
    headers = {"Location": parts.representer.path_of(job.id)}
    view = JobView(job)
    if not accepted.is_new:
        view = await parts.threads.run(parts.views.get, job.id, caller.workspace_id)
    wait_seconds = _wait_of(prefer)
    if wait_seconds is None:
        return _answer(parts.representer.show(view), 202, headers)
    await parts.delivery.wait_for_end(job, wait_seconds)
    view = await parts.threads.run(parts.views.get, job.id, caller.workspace_id)
    headers["Preference-Applied"] = f"wait={wait_seconds:g}"
    return _answer(parts.representer.show(view), 200 if _has_ended(view) else 202, headers)


@router.get(
    "",
    summary="List jobs, newest first",
    response_model=PageBody,
    responses=problems(401, 403, 422, 503),
)
async def list_jobs(
    parts: Parts,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Jobs of a page.")] = 20,
    cursor: Annotated[
        str | None, Query(max_length=200, description="The `next_cursor` of a page.")
    ] = None,
    status: Annotated[
        list[JobStatus] | None, Query(description="Only these; may be given several times.")
    ] = None,
    product_id: Annotated[OwnerId | None, Query(description="Only of this product.")] = None,
    created_after: Annotated[Moment | None, Query(description="Later than this.")] = None,
    created_before: Annotated[Moment | None, Query(description="Earlier than this.")] = None,
) -> Response:
    """Return one page. Jobs submitted meanwhile do not move those of later pages."""
    query = PageQuery(
        limit + 1,
        status,
        product_id,
        _aware(created_after),
        _aware(created_before),
        None if cursor is None else _read_cursor(cursor),
    )
    found = await parts.threads.run(parts.views.page, caller.workspace_id, query)
    items = [parts.representer.show(view) for view in found[:limit]]
    next_cursor = _write_cursor(found[limit - 1]) if len(found) > limit else None
    page = PageBody(items=items, next_cursor=next_cursor)
    return _json(page.model_dump_json(), 200, {})


@router.get(
    "/{job_id}",
    summary="Get a job",
    response_model=JobBody,
    responses=problems(401, 403, 404, 422, 503),
)
async def get_job(
    parts: Parts, job_id: UUID, caller: CallerOf, prefer: PreferHeader = None
) -> Response:
    """Return a job, with new signed addresses."""
    view = await parts.threads.run(parts.views.get, job_id, caller.workspace_id)
    wait_seconds = _wait_of(prefer)
    headers = {}
    if wait_seconds is not None and not _has_ended(view):
        await parts.delivery.wait_for_end(view.job, wait_seconds)
        view = await parts.threads.run(parts.views.get, job_id, caller.workspace_id)
        headers["Preference-Applied"] = f"wait={wait_seconds:g}"
    return _answer(parts.representer.show(view), 200, headers)


@router.post(
    "/{job_id}/cancel",
    status_code=200,
    summary="Cancel a job",
    response_model=JobBody,
    responses={
        202: {"model": JobBody, "description": "It runs, and ends at its next step."},
        **problems(401, 403, 404, 413, 415, 422, 503),
    },
)
async def cancel(parts: Parts, job_id: UUID, caller: CallerOf) -> Response:
    """Ask for the end of a job; one that has ended stays as it is."""
    await parts.threads.run(parts.canceller.cancel, job_id, caller.workspace_id)
    view = await parts.threads.run(parts.views.get, job_id, caller.workspace_id)
    return _answer(parts.representer.show(view), 200 if _has_ended(view) else 202, {})


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Delete a job",
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def delete_job(parts: Parts, job_id: UUID, caller: CallerOf) -> Response:
    """Delete a job that has ended, with its ledger and its images."""
    await parts.threads.run(parts.deleter.delete, job_id, caller.workspace_id)
    return Response(status_code=204)


def _answer(body: JobBody, status: int, headers: Mapping[str, str]) -> Response:
    return _json(body.model_dump_json(), status, headers)


def _json(content: str, status: int, headers: Mapping[str, str]) -> Response:
    # It holds signed addresses.
    return Response(
        content,
        status,
        {"Cache-Control": "no-store", **headers},
        media_type="application/json",
    )


def _has_ended(view: JobView) -> bool:
    return view.job.status.is_terminal


def _terms_of(order: ImageOrder, key: str | None, open_limit: int) -> Terms:
    if key is None:
        return Terms(open_limit)
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise InvalidRequest("Idempotency-Key: must be 1 to 255 visible ASCII characters")
    # The order of the fields, and of the metadata's keys, makes no other request.
    canonical = json.dumps(order.model_dump(mode="json"), sort_keys=True)
    return Terms(open_limit, key, sha256(canonical.encode()).hexdigest())


def _wait_of(prefer: str | None) -> float | None:
    """Read `wait` out of a Prefer header (RFC 7240, section 4.3); others are ignored."""
    found = _WAIT.search(prefer or "")
    return None if found is None else min(float(found.group(1)), WAIT_MAX_SECONDS)


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _write_cursor(view: JobView) -> str:
    text = f"{view.job.created_at.isoformat()} {view.job.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, job_id = text.partition(" ")
        created_at: Any = datetime.fromisoformat(moment)
        if created_at.tzinfo is None:
            raise ValueError("no time zone")
        return created_at, UUID(job_id)
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest("cursor: must be the next_cursor of a page") from error
