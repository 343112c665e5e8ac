"""Routes of jobs: submit, read, list, follow, cancel, delete."""

import json
import re
from asyncio import to_thread
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import accumulate
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BeforeValidator, StringConstraints

from shared.api.caller import caller_of
from shared.api.cursors import PAGE_MAX, Cursor, read_cursor, write_cursor
from shared.api.dependencies import (
    ApiContext,
    Context,
    UserOfToken,
    WorkspaceToCancel,
    WorkspaceToRead,
    WorkspaceToSubmit,
    opened_by,
)
from shared.api.documentation import ORDERS, QUOTA_HEADERS, event_stream, examples, problems
from shared.api.presenter import quote_body
from shared.api.quotas import quota_headers
from shared.api.schemas import JobBody, PageBody, QuoteBody
from shared.api.user_orders import order_of, terms_for
from shared.errors import DarkroomError, InvalidRequest, ServiceUnavailable, TooManyStreams
from shared.events.event import FROM_THE_START, is_event_id, is_of_row
from shared.imaging.params import METADATA_MAX_KEYS, ModelName
from shared.imaging.request import GenerationRequest, ImageOrder, OwnerId
from shared.jobs.acceptance import Terms
from shared.jobs.model import Job
from shared.jobs.views import JobView, PageQuery
from shared.jobs.workspace_limits import SubmissionLimits
from shared.status import JobStatus

WAIT_MAX_SECONDS = 25.0
"""The longest that `Prefer: wait` may wait; API Gateway gives up after 30 s."""

PAGE_MAX_BYTES = 2_000_000
"""A Lambda function answers with 6 MB at most (Lambda quotas, "Invocation payload"), in which one
byte may take three: the answer is JSON within JSON, in ASCII."""

OFFSET_LIMIT = timedelta(hours=16)
"""PostgreSQL knows none so great (PostgreSQL documentation, "datatype/timestamp.h")."""

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"\bwait\s*=\s*\"?([0-9]{1,6})\"?", re.IGNORECASE)


def _check_moment(text: object) -> object:
    # pydantic reads a bare number as seconds since 1970.
    if isinstance(text, str) and re.match(r"[0-9]{4}-[0-9]{2}-", text) is None:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    return text


def _in_utc(moment: datetime) -> datetime:
    offset = moment.utcoffset()
    if offset is None:
        return moment.replace(tzinfo=UTC)
    try:
        if abs(offset) < OFFSET_LIMIT:
            return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999") from None
    raise ValueError("must have an offset of less than 16 hours")


Moment = Annotated[datetime, BeforeValidator(_check_moment), AfterValidator(_in_utc)]

ErrorCodeFilter = Annotated[
    str | None, Query(pattern="^[a-z_]{1,64}$", description="Only with this code in `error`.")
]
MetadataFilter = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^[^=\x00]{1,64}(=[^\x00]{0,512})?$")]] | None,
    Query(
        max_length=METADATA_MAX_KEYS,
        description="Only with this key in their metadata, as `order`, or with this value, as "
        "`order=A-17`; may be given several times.",
    ),
]
Order = Annotated[
    Literal["created_at", "finished_at"],
    Query(description="Newest first by this; `finished_at` leaves out jobs that have not ended."),
]


def _split_metadata(text: str) -> tuple[str, str | None]:
    key, mark, value = text.partition("=")
    return key, value if mark else None


PreferHeader = Annotated[
    str | None,
    Header(description="`wait=20`: respond when the job has ended, or after 20 s (at most 25 s)."),
]


IdempotencyKey = Annotated[
    str | None,
    Header(max_length=255, description="The same key and body return the same job, for 24 hours."),
]

router = APIRouter(prefix="/v1/generations", tags=["generations"])


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    summary="Submit a job",
    responses={
        202: {**examples("The job was accepted.", "queued"), "headers": QUOTA_HEADERS},
        200: {
            "model": JobBody | QuoteBody,
            **examples(
                "The job ended during the wait, or a quote.", "completed", "failed", "quote"
            ),
        },
        **problems(
            *("malformed_json", "payload_too_large", "unsupported_media_type"),
            *("idempotency_key_reused", "job_deleted"),
            *("too_many_open_jobs", "too_many_submissions", "budget_exceeded"),
            invalid_request="n should be less than or equal to 10",
        ),
    },
)
async def create_generation(
    response: Response,
    api: Context,
    workspace_id: WorkspaceToSubmit,
    order: Annotated[ImageOrder, Body(openapi_examples=ORDERS)],
    idempotency_key: IdempotencyKey = None,
    prefer: PreferHeader = None,
    dry_run: Annotated[
        bool, Query(description="Accept nothing: respond with the price and what is left.")
    ] = False,
    user: UserOfToken = None,
) -> JobBody | Response:
    """Accept a request. Its job runs in the background, whatever happens to the API."""
    limits, order = api.services.submission_limits, order_of(order, user)
    request = GenerationRequest.model_construct(**dict(order), workspace_id=workspace_id)
    if dry_run:
        quote = await to_thread(api.services.submitter.quote, request, limits)
        return JSONResponse(quote_body(quote).model_dump())
    terms = terms_for(_terms_of(order, idempotency_key, limits), user)
    accepted = await to_thread(api.services.submitter.submit_on, request, terms)
    view = JobView(accepted.job)
    response.headers["Location"] = api.presenter.path_of(view.job.id)
    response.headers.update(quota_headers(accepted.quotas))
    has_waited = await _wait(api, view.job, prefer, response)
    if has_waited or not accepted.is_new:
        view = await to_thread(api.services.views.get, view.job.id, workspace_id)
    if has_waited and view.job.status.is_terminal:
        response.status_code = 200
    return api.presenter.show(view)


@router.get(
    "",
    summary="List jobs",
    responses={
        200: examples("One page.", "page"),
        **problems(invalid_request="limit should be less than or equal to 100"),
    },
)
async def list_generations(
    api: Context,
    workspace_id: WorkspaceToRead,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Jobs of a page.")] = 20,
    cursor: Cursor = None,
    status: Annotated[
        list[JobStatus] | None, Query(description="Only these; may be given several times.")
    ] = None,
    product_id: Annotated[OwnerId | None, Query(description="Only of this product.")] = None,
    model: Annotated[ModelName | None, Query(description="Only of this model.")] = None,
    created_after: Annotated[Moment | None, Query(description="Later than this.")] = None,
    created_before: Annotated[Moment | None, Query(description="Earlier than this.")] = None,
    user_id: Annotated[OwnerId | None, Query(description="Only of this user.")] = None,
    error_code: ErrorCodeFilter = None,
    metadata: MetadataFilter = None,
    finished_after: Annotated[Moment | None, Query(description="Ended later than this.")] = None,
    order: Order = "created_at",
    user: UserOfToken = None,
) -> PageBody:
    """Return one page of jobs, newest first. New jobs do not move those of later pages."""
    query = PageQuery(limit + 1, status, product_id, created_after, created_before)
    query = replace(
        query,
        before=read_cursor(cursor),
        model=model,
        user_id=user_id if user is None else user.user_id,
        error_code=error_code,
        finished_after=finished_after,
        metadata=dict(map(_split_metadata, metadata or ())),
        by_end=order == "finished_at",
    )
    found = await to_thread(api.services.views.page, workspace_id, query)
    items = _fitting([api.presenter.show(view) for view in found[:limit]])
    last = found[len(items) - 1].job if len(found) > len(items) else None
    next_cursor = write_cursor(getattr(last, order), last.id) if last else None
    return PageBody(items=items, next_cursor=next_cursor)


@router.get(
    "/{job_id}",
    summary="Get a job",
    responses={
        200: examples("The job.", "in_queue", "running", "waiting", "completed", "failed"),
        **problems("not_found"),
    },
)
async def get_generation(
    response: Response,
    api: Context,
    job_id: UUID,
    workspace_id: WorkspaceToRead,
    prefer: PreferHeader = None,
) -> JobBody:
    """Return a job, with new signed addresses."""
    view = await to_thread(api.services.views.get, job_id, workspace_id)
    if not view.job.status.is_terminal and await _wait(api, view.job, prefer, response):
        view = await to_thread(api.services.views.get, job_id, workspace_id)
    return api.presenter.show(view)


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: event_stream(
            "The events of the job. `id` is the id of the event, `data` a JSON object with its"
            " status, progress and message. Ends after the last event, or earlier; a client"
            " reconnects with the id of the last event it received. With `detail=full` an event"
            " `job`, whose `data` is the job, comes before the last of the new events. While it"
            " cannot be served it holds `retry` alone."
        ),
        204: {"description": "There are no more events; do not reconnect."},
        **problems("not_found", "invalid_token", "expired_token"),
    },
)
async def follow_generation(
    request: Request,
    api: Context,
    job_id: UUID,
    workspace_id: Annotated[str | None, opened_by("job")],
    last_event_id: Annotated[
        str | None, Query(max_length=64, description="As the header Last-Event-ID.")
    ] = None,
    last_event_id_header: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="The id of the last event received."),
    ] = None,
    detail: Annotated[
        Literal["full"] | None, Query(description="`full`: send the job with its events.")
    ] = None,
) -> Response:
    """Send the events after the last one received, then each new one, up to the last."""
    after_id = last_event_id_header or last_event_id or FROM_THE_START
    if not is_event_id(after_id):
        raise InvalidRequest("Last-Event-ID: must be the id of an event")
    job = await to_thread(api.services.jobs.get, job_id, workspace_id)
    if is_of_row(after_id) and not job.status.is_terminal:
        # Made up: only a job that has ended has such an event.
        after_id = FROM_THE_START
    describe = partial(_describe, api, job) if detail else None
    return await api.delivery.respond(job, after_id, describe, caller_of(request.scope).key_id)


def _describe(api: ApiContext, job: Job) -> bytes:
    try:
        view = api.services.views.get(job.id, job.workspace_id)
    except DarkroomError:
        # Deleted meanwhile, or PostgreSQL is unavailable: the events are sent all the same.
        return b""
    return api.presenter.show(view).model_dump_json().encode()


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses={
        200: examples("The job has ended.", "cancelled", "completed"),
        202: {"model": JobBody, **examples("The job ends at its next step.", "running")},
        **problems("not_found", "payload_too_large", "unsupported_media_type"),
    },
)
async def cancel_generation(
    response: Response, api: Context, job_id: UUID, workspace_id: WorkspaceToCancel
) -> JobBody:
    """Request the end of a job. A job that has ended stays as it is."""
    await to_thread(api.services.cancel, job_id, workspace_id)
    view = await to_thread(api.services.views.get, job_id, workspace_id)
    if not view.job.status.is_terminal:
        response.status_code = 202
    return api.presenter.show(view)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Retry a job",
    responses={
        202: {**examples("The new job was accepted.", "retrying"), "headers": QUOTA_HEADERS},
        **problems(
            *("not_found", "job_running", "payload_too_large", "unsupported_media_type"),
            *("idempotency_key_reused", "job_deleted"),
            *("too_many_open_jobs", "too_many_submissions", "budget_exceeded"),
        ),
    },
)
async def retry_generation(
    response: Response,
    api: Context,
    job_id: UUID,
    workspace_id: WorkspaceToSubmit,
    idempotency_key: IdempotencyKey = None,
    user: UserOfToken = None,
) -> JobBody:
    """Submit the order of a job that has ended once more. Images of the old job are kept."""
    terms = _terms(f"retry {job_id}", idempotency_key, api.services.submission_limits)
    retry = api.services.submitter.retry
    accepted = await to_thread(retry, job_id, terms_for(terms, user), workspace_id)
    response.headers["Location"] = api.presenter.path_of(accepted.job.id)
    response.headers.update(quota_headers(accepted.quotas))
    return api.presenter.show(
        await to_thread(api.services.views.get, accepted.job.id, workspace_id)
    )


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Delete a job",
    responses={
        204: {"description": "The job is deleted."},
        **problems("not_found", "job_running"),
    },
)
async def delete_generation(api: Context, job_id: UUID, workspace_id: WorkspaceToCancel) -> None:
    """Delete a job that has ended, with its attempts and its images."""
    await to_thread(api.services.deleter.delete, job_id, workspace_id)


def check_idempotency_key(key: str) -> None:
    """Raise InvalidRequest if the text may not be a key."""
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise InvalidRequest("Idempotency-Key: must be 1 to 255 visible ASCII characters")


def _terms_of(order: ImageOrder, key: str | None, limits: SubmissionLimits) -> Terms:
    # Another order of the fields, or of the keys of the metadata, is the same request; so is one
    # that names a default, also one of a later version.
    canonical = json.dumps(order.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return _terms(canonical, key, limits)


def _terms(canonical: str, key: str | None, limits: SubmissionLimits) -> Terms:
    if key is None:
        return Terms(limits)
    check_idempotency_key(key)
    return Terms(limits, key, sha256(canonical.encode()).hexdigest())


async def _wait(api: ApiContext, job: Job, prefer: str | None, response: Response) -> bool:
    """Wait for the end of a job as a Prefer header asks (RFC 7240, section 4.3); False if not.

    A wait counts as a stream. Where no other may be open, the preference is not applied.
    """
    found = _WAIT.search(prefer or "")
    if found is None:
        return False
    seconds = min(float(found.group(1)), WAIT_MAX_SECONDS)
    async with AsyncExitStack() as undo:
        try:
            await undo.enter_async_context(api.delivery.hold(job.workspace_id))
        except (ServiceUnavailable, TooManyStreams):
            return False
        async for _ in api.delivery.follow(job, seconds):
            pass
    response.headers["Preference-Applied"] = f"wait={seconds:g}"
    return True


def _fitting(items: list[JobBody]) -> list[JobBody]:
    """Return the first items, as many as an answer may hold; at least one."""
    sizes = accumulate(len(item.model_dump_json().encode()) for item in items)
    return items[: max(1, sum(size <= PAGE_MAX_BYTES for size in sizes))]
