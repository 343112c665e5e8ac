"""The JSON bodies of webhooks: of their routes, and of what they send."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.api.presenter import Presenter
from shared.jobs.job_store import job_of_columns
from shared.jobs.views import JobView, JobViews, PageQuery
from shared.settings import Settings
from shared.status import JobStatus
from shared.webhook_types import ENDINGS, WebhookEvent, WebhookEvents, WebhookUrl
from shared.webhooks.outbox import DueDelivery


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True)


class WebhookOrder(_Body):
    """A webhook to be created."""

    url: WebhookUrl | None = Field(
        default=None,
        description="Where events are sent. Without it, the webhook signs what requests ask for by "
        "`webhook_url`; a workspace has one such at most.",
    )
    events: WebhookEvents = Field(
        default=list(ENDINGS), description="Which events of the workspace's jobs."
    )


class WebhookChangeOrder(_Body):
    """What is to change of a webhook; what is left out, or null, stays."""

    url: WebhookUrl | None = Field(default=None, description="Where events are sent.")
    events: WebhookEvents | None = Field(default=None, description="Which events are sent.")
    is_enabled: bool | None = Field(
        default=None, strict=True, description="`true` also ends a count of failures."
    )
    rotates_secret: bool = Field(
        default=False,
        strict=True,
        description="Make a new secret; the one before signs as well for 24 hours.",
    )


class WebhookBody(_Body):
    """Where a workspace learns of events."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    url: str | None = Field(description="Null: the URLs of requests.")
    events: list[WebhookEvent]
    created_at: datetime
    failing_since: datetime | None = Field(description="Set while deliveries fail.")
    disabled_at: datetime | None = Field(description="Set while nothing is sent.")
    disabled_reason: str | None


class WebhookSecretBody(WebhookBody):
    """A webhook with its secret, which is shown this once."""

    secret: str | None = Field(description="Begins with `whsec_`; null where it is not new.")


class WebhookListBody(_Body):
    """All webhooks of a workspace, oldest first."""

    items: list[WebhookBody]


class DeliveryBody(_Body):
    """One event for one receiver."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="The header `webhook-id` is `msg_` and its 32 digits.")
    number: int = Field(description="For `before` of the next page.")
    job_id: UUID
    event: WebhookEvent
    created_at: datetime
    tries: int
    next_try_at: datetime | None = Field(
        description="Null once it is delivered or given up; within a try, when the next may begin."
    )
    delivered_at: datetime | None
    status_code: int | None = Field(description="Of the last answer.")
    error: str | None = Field(description="Why the last try failed, for a person.")


class DeliveryListBody(_Body):
    """Deliveries of a webhook, newest first."""

    items: list[DeliveryBody]


class DeliveredJobs:
    """Shows the jobs of deliveries: as GET shows them, but without tokens in addresses.

    A token would have expired at a later try, and a log of the receiver would hold it.
    """

    def __init__(self, views: JobViews, settings: Settings) -> None:
        self._views = views
        self._presenter = Presenter(settings, signs=False)

    def show(self, delivery: DueDelivery) -> Mapping[str, Any]:
        """Return the job as it was when the event happened, the same at each try.

        The line of an attempt that ran by then is left out: it has changed by a later try.
        """
        job = job_of_columns(delivery.job)
        ended = job.attempt - (job.status is JobStatus.PROCESSING)
        query = PageQuery(limit=1, job_id=job.id)
        views = self._views.page(delivery.workspace_id, query) or [JobView(job)]
        view = replace(
            views[0],
            job=job,
            attempts=[line for line in views[0].attempts if line["number"] <= ended],
            images=views[0].images if job.status is JobStatus.COMPLETED else (),
            previews=(),
        )
        return self._presenter.show(view).model_dump(mode="json")
