"""The rows of webhooks, and of their deliveries as their owners see them.

A trigger on `generation_jobs` inserts deliveries, in the transaction of the change of the job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, exc

from shared.database.statements import Statements
from shared.errors import InvalidRequest, UnknownDelivery, UnknownWebhook
from shared.webhooks.signing import new_secret

WEBHOOKS_MAX = 20
"""Of a workspace: each of them adds a row to the transaction of each event."""

OVERLAP_SECONDS = 24 * 3600
"""How long the secret before a new one still signs."""

DISABLED_BY_OWNER = "disabled by its owner"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a workspace wants to learn of events.

    Attributes:
        url: None for the one that signs what requests ask for by their own `webhook_url`.
        failing_since: When a delivery failed first after the last one that succeeded.
    """

    id: UUID
    workspace_id: str
    url: str | None
    events: Sequence[str]
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one receiver, as its owner sees it; `next_try_at` is None when it is over."""

    id: UUID
    number: int
    job_id: UUID
    event: str
    created_at: datetime
    tries: int
    next_try_at: datetime | None
    delivered_at: datetime | None
    status_code: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """What becomes of a webhook; None leaves a thing as it is."""

    url: str | None = None
    events: Sequence[str] | None = None
    is_enabled: bool | None = None
    rotates_secret: bool = False


class WebhookStore:
    """Reads and writes webhooks; every method raises ServiceUnavailable without PostgreSQL.

    Args:
        allows_private: Whether receivers may lie in private networks and be reached by plain HTTP.
    """

    def __init__(self, engine: Engine, *, allows_private: bool) -> None:
        self._run = Statements(engine, __file__)
        self._allows_private = allows_private

    def create(
        self, workspace_id: str, url: str | None, events: Sequence[str]
    ) -> tuple[Webhook, str]:
        """Create a webhook and return it with its secret.

        Raises:
            InvalidRequest: The workspace has all that it may have, or the URL is not allowed.
        """
        self._check_url("url", url)
        secret = new_secret()
        parameters = {
            "workspace_id": workspace_id,
            "url": url,
            "events": list(events),
            "secret": secret,
            "limit": WEBHOOKS_MAX,
        }
        try:
            rows = self._run("insert_webhook", parameters)
        except exc.IntegrityError as error:
            raise InvalidRequest("url is missing: the workspace has a webhook without") from error
        if not rows:
            raise InvalidRequest(f"url: a workspace has {WEBHOOKS_MAX} webhooks at most")
        return _webhook_of(rows[0]), secret

    def list(
        self, workspace_id: str | None = None, webhook_id: UUID | None = None
    ) -> Sequence[Webhook]:
        """Return the webhooks of a workspace, or of all, oldest first; with an id, only that."""
        return self._list(workspace_id=workspace_id, id=webhook_id and str(webhook_id))

    def list_failing(
        self, workspace_id: str | None = None, limit: int | None = None
    ) -> Sequence[Webhook]:
        """Return the webhooks of a workspace, or of all, that fail or are disabled."""
        return self._list(workspace_id=workspace_id, is_failing=True, limit=limit)

    def _list(self, **filters: Any) -> Sequence[Webhook]:
        parameters = {**dict.fromkeys(("workspace_id", "id", "is_failing", "limit")), **filters}
        return [_webhook_of(row) for row in self._run("list_webhooks", parameters)]

    def get(self, workspace_id: str, webhook_id: UUID) -> Webhook:
        """Return a webhook of the workspace.

        Raises:
            UnknownWebhook: It has none of this id.
        """
        found = self.list(workspace_id, webhook_id)
        if not found:
            raise UnknownWebhook(webhook_id)
        return found[0]

    def change(
        self, workspace_id: str, webhook_id: UUID, change: WebhookChange
    ) -> tuple[Webhook, str | None]:
        """Change a webhook and return it, with its new secret if it was to get one.

        Raises:
            UnknownWebhook: The workspace has none of this id.
            InvalidRequest: The URL is not allowed.
        """
        if change.url is not None:
            self._check_url("url", change.url)
            if self.get(workspace_id, webhook_id).url is None:
                raise InvalidRequest("url: this webhook is sent to the URLs of requests")
        secret = new_secret() if change.rotates_secret else None
        parameters = {
            **{"id": str(webhook_id), "workspace_id": workspace_id, "url": change.url},
            "events": None if change.events is None else list(change.events),
            "is_enabled": change.is_enabled,
            "reason": DISABLED_BY_OWNER,
            "secret": secret,
            "overlap_seconds": OVERLAP_SECONDS,
        }
        rows = self._run("change_webhook", parameters)
        if not rows:
            raise UnknownWebhook(webhook_id)
        return _webhook_of(rows[0]), secret

    def delete(self, workspace_id: str, webhook_id: UUID) -> None:
        """Delete a webhook; what it has not sent is not sent any more.

        Raises:
            UnknownWebhook: The workspace has none of this id.
        """
        parameters = {"id": str(webhook_id), "workspace_id": workspace_id}
        if not self._run("delete_webhook", parameters):
            raise UnknownWebhook(webhook_id)

    def check_request(self, workspace_id: str, url: str) -> None:
        """Check the `webhook_url` of a request.

        Raises:
            InvalidRequest: It is not allowed, or there is no secret to sign with.
        """
        self._check_url("webhook_url", url)
        if all(webhook.url is not None for webhook in self.list(workspace_id)):
            raise InvalidRequest(
                "webhook_url: nothing to sign with; POST /v1/webhooks without url makes a secret"
            )

    def deliveries(
        self, workspace_id: str, webhook_id: UUID, limit: int, before: int | None = None
    ) -> Sequence[Delivery]:
        """Return deliveries of a webhook, newest first, those before a number.

        Raises:
            UnknownWebhook: The workspace has none of this id.
        """
        self.get(workspace_id, webhook_id)
        parameters = {
            **{"workspace_id": workspace_id, "webhook_id": str(webhook_id)},
            **{"limit": limit, "before": before},
        }
        return [_delivery_of(row) for row in self._run("list_deliveries", parameters)]

    def resend(self, workspace_id: str | None, delivery_id: UUID) -> Delivery:
        """Have a delivery sent again now, under the same id.

        Raises:
            UnknownDelivery: No webhook of the workspace, or of any, has it (any more).
        """
        parameters = {"id": str(delivery_id), "workspace_id": workspace_id}
        rows = self._run("resend_delivery", parameters)
        if not rows:
            raise UnknownDelivery(delivery_id)
        return _delivery_of(rows[0])

    def resend_since(self, webhook_id: UUID, seconds: float, *, with_delivered: bool) -> int:
        """Have those that were made within so many seconds sent again; return how many.

        Args:
            webhook_id: Whose they are.
            seconds: Up to which age.
            with_delivered: Not only those that were given up.
        """
        parameters = {"webhook_id": str(webhook_id), "seconds": seconds}
        rows = self._run("resend_deliveries", {**parameters, "with_delivered": with_delivered})
        return len(rows)

    def forget_deliveries(self, days: float, limit: int) -> int:
        """Delete deliveries that were made so many days ago, and return how many."""
        parameters = {"kept_seconds": days * 86_400, "limit": limit}
        return len(self._run("forget_deliveries", parameters))

    def _check_url(self, field: str, url: str | None) -> None:
        if url is not None and not self._allows_private and not url.startswith("https://"):
            raise InvalidRequest(
                f"{field}: must begin with https:// (unless WEBHOOK_PRIVATE_NETWORKS=true)"
            )


def _webhook_of(row: Any) -> Webhook:
    columns = row._mapping
    values = {name: columns[name] for name in Webhook.__dataclass_fields__}
    return Webhook(**values | {"id": UUID(str(row.id))})


def _delivery_of(row: Any) -> Delivery:
    ids = {name: UUID(str(row._mapping[name])) for name in ("id", "job_id")}
    values = {name: row._mapping[name] for name in Delivery.__dataclass_fields__}
    return Delivery(**values | ids)
