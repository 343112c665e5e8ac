"""Routes of operators, over all workspaces: for keys with the scope `admin`.

Each action is noted in the audit before it is done.
"""

from asyncio import to_thread
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from shared.access.audit import AuditStore
from shared.api.caller import caller_of
from shared.api.cursors import PAGE_MAX, Cursor
from shared.api.dependencies import ApiContext, Context, WorkspaceOfOperator
from shared.api.documentation import examples, problems
from shared.api.generation_routes import list_generations
from shared.api.operator.operator_bodies import (
    AuditEntryBody,
    AuditListBody,
    CostBody,
    CostListBody,
    OperatorJobBody,
    OperatorOverviewBody,
    ProviderBody,
    ProviderOrder,
    ProviderQueueBody,
    ProviderQueueListBody,
    TimedEventBody,
    WorkspaceBody,
    WorkspaceId,
    WorkspaceOrder,
)
from shared.api.schemas import JobBody, PageBody
from shared.errors import InvalidRequest, ServiceUnavailable
from shared.events.event import FROM_THE_START, Event
from shared.jobs.acceptance import Terms
from shared.jobs.overview import Overview
from shared.jobs.workspace_limits import LIMITS, LimitStore, OwnLimits
from shared.status import JobStatus

COSTS_MAX_SECONDS = 31 * 86_400
_BODY = ("malformed_json", "payload_too_large", "unsupported_media_type")

Result = TypeVar("Result")

router = APIRouter(prefix="/v1/operator", tags=["operator"])


class Operator:
    """The sender of a request, who may do this, and the audit of what is done."""

    def __init__(self, request: Request, api: Context, _workspace: WorkspaceOfOperator) -> None:
        self.api = api
        caller = caller_of(request.scope)
        client = request.client.host if request.client else "unknown"
        self._who = f"no key, from {client}"
        if caller.key_id is not None:
            self._who = f"key {caller.key_id} ({caller.key_name})"

    async def do(
        self, action: str, target: str, act: Callable[[], Result], **details: Any
    ) -> Result:
        """Note the action and do it."""

        def run() -> Result:
            audit = AuditStore(self.api.services.engine)
            with audit.noted(self._who, action, target, **details):
                return act()

        done = await to_thread(run)
        self.api.overview.forget()
        return done


ByOperator = Annotated[Operator, Depends()]


@router.get(
    "/overview",
    summary="Get the overview",
    responses={200: examples("The state of all workspaces.", "overview"), **problems()},
)
async def get_overview(by: ByOperator) -> OperatorOverviewBody:
    """Return throughput, queues, running jobs, failures, providers, workers, pauses, webhooks."""
    return await to_thread(by.api.overview.read)


@router.get(
    "/queue",
    summary="List open jobs by provider",
    responses={200: examples("By provider.", "provider_queue"), **problems()},
)
async def list_queue_by_provider(by: ByOperator) -> ProviderQueueListBody:
    """Return how many jobs wait for each provider and run, the most first."""
    overview, default = Overview(by.api.services.engine), by.api.settings.providers[0].name
    rows = await to_thread(overview.queue_by, ("provider",), default)
    return ProviderQueueListBody(items=[ProviderQueueBody.model_validate(row) for row in rows])


@router.get(
    "/costs",
    summary="List costs",
    responses={200: examples("By workspace and model.", "costs"), **problems()},
)
async def list_costs(
    by: ByOperator,
    seconds: Annotated[
        int, Query(ge=1, le=COSTS_MAX_SECONDS, description="Of calls that ended since.")
    ] = 86_400,
) -> CostListBody:
    """Return what calls of providers have cost, the highest first."""
    overview = Overview(by.api.services.engine)
    rows = await to_thread(overview.costs, seconds, ("workspace", "model"))
    return CostListBody(items=[CostBody.model_validate(row) for row in rows[:PAGE_MAX]])


@router.get(
    "/jobs",
    summary="List jobs of a workspace",
    responses={200: examples("One page.", "page"), **problems()},
)
async def list_jobs_of_workspace(
    by: ByOperator,
    workspace_id: Annotated[WorkspaceId, Query(description="Whose jobs.")],
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Jobs of a page.")] = 20,
    cursor: Cursor = None,
    status: Annotated[list[JobStatus] | None, Query(description="Only these.")] = None,
) -> PageBody:
    """Return one page of jobs, newest first, as its own keys see it."""
    return await list_generations(by.api, workspace_id, limit, cursor, status)


@router.get(
    "/jobs/{job_id}",
    summary="Get a job of any workspace",
    responses={200: examples("The job.", "operator_job"), **problems("not_found")},
)
async def get_any_job(by: ByOperator, job_id: UUID) -> OperatorJobBody:
    """Return a job with its ledger, and with the events that Redis still has."""
    return await to_thread(_read_job, by.api, job_id)


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel a job of any workspace",
    responses={
        200: examples("The job; one that runs ends at its next step.", "cancelled", "running"),
        **problems("not_found", "payload_too_large", "unsupported_media_type"),
    },
)
async def cancel_any_job(by: ByOperator, job_id: UUID) -> JobBody:
    """Request the end of a job. A job that has ended stays as it is."""
    job = await by.do("cancel", f"job {job_id}", lambda: by.api.services.cancel(job_id))
    return await to_thread(_show, by.api, job.id, job.workspace_id)


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    summary="Retry a job of any workspace",
    responses={
        202: examples("The new job was accepted.", "retrying"),
        **problems("not_found", "job_running", "payload_too_large", "unsupported_media_type"),
    },
)
async def retry_any_job(by: ByOperator, job_id: UUID) -> JobBody:
    """Submit the order of a job that has ended once more, beyond the limits of its workspace."""
    retry = by.api.services.submitter.retry
    accepted = await by.do("retry", f"job {job_id}", lambda: retry(job_id, Terms()))
    return await to_thread(_show, by.api, accepted.job.id, accepted.job.workspace_id)


@router.get(
    "/workspaces",
    summary="Get the limits of a workspace",
    responses={200: examples("Its limits.", "workspace_limits"), **problems()},
)
async def get_workspace_limits(
    by: ByOperator, workspace_id: Annotated[WorkspaceId, Query(description="Whose limits.")]
) -> WorkspaceBody:
    """Return the limits that a workspace has of its own, and the defaults."""
    found = await to_thread(LimitStore(by.api.services.engine).list, workspace_id)
    return _limits_of(by.api, found[0] if found else OwnLimits(workspace_id))


@router.patch(
    "/workspaces",
    summary="Change a workspace",
    responses={
        200: examples("Its limits.", "workspace_limits"),
        **problems(*_BODY, invalid_request="workspace: no workspace 'nowhere'"),
    },
)
async def change_workspace(by: ByOperator, order: WorkspaceOrder) -> WorkspaceBody:
    """Set limits of a workspace, or pause or resume it. They hold from the next request on."""
    changes = order.model_dump(exclude_unset=True, include={*LIMITS})
    if not changes and order.is_paused is None:
        raise InvalidRequest("limits: name at least one to set, or is_paused")
    store, name = LimitStore(by.api.services.engine), order.workspace_id
    if changes:
        await by.do("limits", f"workspace {name}", lambda: store.set(name, changes), **changes)
    if order.is_paused is not None:
        await by.do(*_switch("workspace", name, store.pause, store.resume, order.is_paused))
    return await get_workspace_limits(by, name)


@router.patch(
    "/providers",
    summary="Pause or resume a provider",
    responses={200: examples("Whether it is called.", "provider"), **problems(*_BODY)},
)
async def change_provider(by: ByOperator, order: ProviderOrder) -> ProviderBody:
    """Call a provider no more, or again. Its jobs are accepted and wait."""
    store = LimitStore(by.api.services.engine)
    pause, resume = store.pause_provider, store.resume_provider
    await by.do(*_switch("provider", order.provider, pause, resume, order.is_paused))
    return ProviderBody(provider=order.provider, is_paused=order.is_paused)


@router.get(
    "/audit",
    summary="List actions of operators",
    responses={200: examples("The newest actions.", "audit"), **problems()},
)
async def list_audit(
    by: ByOperator,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Of a page.")] = 20,
    before: Annotated[
        int | None, Query(ge=1, lt=2**63, description="The `number` of the last one seen.")
    ] = None,
) -> AuditListBody:
    """Return who did what, newest first."""
    found = await to_thread(AuditStore(by.api.services.engine).list, limit, before)
    return AuditListBody(items=[AuditEntryBody.model_validate(entry) for entry in found])


def _switch(
    kind: str,
    name: str,
    pause: Callable[[str], object],
    resume: Callable[[str], object],
    is_paused: bool,
) -> tuple[str, str, Callable[[], object]]:
    act = pause if is_paused else resume
    return "pause" if is_paused else "resume", f"{kind} {name}", lambda: act(name)


def _limits_of(api: ApiContext, own: OwnLimits) -> WorkspaceBody:
    settings = api.settings
    defaults: Mapping[str, int | None] = {
        "open_jobs": settings.max_open_jobs,
        "running_jobs": settings.max_running_jobs,
        "submissions_per_minute": settings.max_submissions_per_minute,
        "cost_per_day": settings.max_cost_per_day,
        "cost_per_month": settings.max_cost_per_month,
    }
    return WorkspaceBody.model_validate({**asdict(own), "defaults": defaults})


def _show(api: ApiContext, job_id: UUID, workspace_id: str) -> JobBody:
    return api.presenter.show(api.services.views.get(job_id, workspace_id))


def _read_job(api: ApiContext, job_id: UUID) -> OperatorJobBody:
    job = api.services.jobs.get(job_id)
    events = None
    with suppress(ServiceUnavailable):
        found = api.services.follower.read(job, FROM_THE_START)
        events = [_timed(event) for event in found]
    return OperatorJobBody(
        workspace_id=job.workspace_id,
        user_id=job.user_id,
        job=_show(api, job_id, job.workspace_id),
        events=events,
    )


def _timed(event: Event) -> TimedEventBody:
    milliseconds = int(event.id.partition("-")[0])
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return TimedEventBody.model_validate({**event.step.as_dict(), "at": at})
