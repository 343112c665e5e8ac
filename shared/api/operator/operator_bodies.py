"""The JSON bodies of the operator routes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.api.schemas import EventBody, JobBody
from shared.api.webhook_bodies import WebhookBody
from shared.imaging.params import ModelName
from shared.status import JobStatus

Limit = Annotated[int | None, Field(ge=0, lt=2**31, description="Null: as the settings say.")]
CostLimit = Annotated[
    int | None, Field(ge=0, lt=2**53, description="Micro-dollars; null: as the settings say.")
]
WorkspaceId = Annotated[str, Field(min_length=1, max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class MinuteBody(_Body):
    """The jobs that ended within one minute."""

    minutes_ago: int
    completed: int
    failed: int = Field(description="Without those that were cancelled.")


class _QueueBody(_Body):
    due: int = Field(description="May start now.")
    delayed: int = Field(description="Wait for a retry, or for the end of a pause.")
    released: int = Field(description="Have an envelope on the queue.")
    running: int
    oldest_waiting_seconds: int | None
    is_paused: bool


class WorkspaceQueueBody(_QueueBody):
    """The open jobs of a workspace."""

    workspace_id: str


class ProviderQueueBody(_QueueBody):
    """The open jobs for a provider."""

    provider: str


class ProviderQueueListBody(_Body):
    """The open jobs by provider, the most first."""

    items: list[ProviderQueueBody]


class NewestJobBody(_Body):
    """A job of any workspace."""

    id: UUID
    workspace_id: str
    status: JobStatus
    attempt: int
    code: str | None = Field(description="Of its error.")
    created_at: datetime
    prompt: str | None


class RejectedBody(_Body):
    """A message of the queue that named no job."""

    received_at: datetime
    runtime: str
    code: str
    reason: str
    body: str = Field(description="The beginning of what it held.")


class RunningJobBody(_Body):
    """A job that runs."""

    job_id: UUID
    workspace_id: str
    provider: str | None
    attempt: int
    max_attempts: int
    progress: int
    worker: str | None
    is_cancelled: bool = Field(description="Ends at its next step.")
    seconds: int = Field(description="How long its attempt has run.")


class FailuresBody(_Body):
    """Failed jobs of one kind."""

    code: str | None
    provider: str | None = Field(description="Of the last attempt.")
    jobs: int
    last_at: datetime
    message: str | None = Field(description="Of one of the newest.")
    job_id: UUID = Field(description="One of the newest.")


class ProviderHealthBody(_Body):
    """How the newest attempts with a provider ended."""

    provider: str
    attempts: int = 0
    failed: int = 0
    mean_seconds: float | None = Field(None, description="Of those that completed.")
    code: str | None = Field(None, description="Of the last failure.")
    message: str | None = None
    paused_at: datetime | None = None


class WorkerBody(_Body):
    """A process that runs jobs."""

    owner: str
    runtime: str
    slots: int
    version: str
    started_at: datetime
    seen_at: datetime
    is_counted: bool = Field(description="Whether it has been seen lately.")


class StuckJobBody(_Body):
    """A job that recovery should have moved on by now."""

    job_id: UUID
    workspace_id: str
    reason: str
    seconds: int


class FailingWebhookBody(WebhookBody):
    """A webhook that fails or is disabled."""

    workspace_id: str


class OwnLimitsBody(_Body):
    """The limits of a workspace; null stands for the default."""

    workspace_id: str
    open_jobs: int | None
    running_jobs: int | None
    submissions_per_minute: int | None
    cost_per_day: int | None
    cost_per_month: int | None
    models: list[str] | None = Field(description="Those that requests may name; null: all.")
    paused_at: datetime | None


class WorkspaceBody(OwnLimitsBody):
    """The limits of a workspace, and the defaults."""

    defaults: dict[str, int | None]


class OperatorOverviewBody(_Body):
    """The state of all workspaces; each list is bounded, the most urgent first."""

    at: datetime = Field(description="When it was read: some seconds ago at most.")
    version: str
    throughput: list[MinuteBody] = Field(description="Of the last 30 minutes; others had none.")
    queue: list[WorkspaceQueueBody]
    totals: dict[str, int] = Field(description="Of the open jobs of all workspaces.")
    running: list[RunningJobBody]
    stuck: list[StuckJobBody]
    failures: list[FailuresBody] = Field(description="Of the last hour, without cancelled jobs.")
    providers: list[ProviderHealthBody] = Field(description="Of the last 15 minutes.")
    workers: list[WorkerBody]
    slots: int = Field(description="Of all workers that count.")
    paused: list[OwnLimitsBody] = Field(description="Workspaces.")
    webhooks: list[FailingWebhookBody]
    newest: list[NewestJobBody] = Field(description="The newest jobs of all workspaces.")
    rejected: list[RejectedBody] = Field(description="The newest.")


class CostBody(_Body):
    """What calls have cost."""

    workspace: str | None
    model: str | None
    price_microdollars: int
    charged_calls: int
    unknown_calls: int
    unpriced_calls: int


class CostListBody(_Body):
    """Costs, the highest first."""

    items: list[CostBody]


class TimedEventBody(EventBody):
    """An event, with its time."""

    at: datetime


class OperatorJobBody(_Body):
    """A job of any workspace, with all that is known of it."""

    workspace_id: str
    user_id: str | None
    job: JobBody
    events: list[TimedEventBody] | None = Field(
        description="Those that Redis still has; null while it is unavailable."
    )


class WorkspaceOrder(_Body):
    """What is to change of a workspace; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workspace_id: WorkspaceId
    is_paused: bool | None = Field(default=None, strict=True, description="Its jobs wait.")
    open_jobs: Limit = None
    running_jobs: Limit = None
    submissions_per_minute: Limit = None
    cost_per_day: CostLimit = None
    cost_per_month: CostLimit = None
    models: list[ModelName] | None = Field(default=None, max_length=100)


class ProviderOrder(_Body):
    """What is to change of a provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str = Field(min_length=1, max_length=64)
    is_paused: bool = Field(strict=True, description="Its jobs wait.")


class ProviderBody(_Body):
    """Whether a provider is called."""

    provider: str
    is_paused: bool


class AuditEntryBody(_Body):
    """One action of an operator."""

    number: int = Field(description="For `before` of the next page.")
    at: datetime
    who: str
    action: str
    target: str
    details: Mapping[str, Any]
    error: str | None = Field(description="Why it was refused; null if it was done.")


class AuditListBody(_Body):
    """Actions of operators, newest first."""

    items: list[AuditEntryBody]
