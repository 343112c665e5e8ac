"""The tables of webhooks, as SQLAlchemy maps them for migrations.

`shared.webhooks.store` reads and writes them. A trigger on `generation_jobs` inserts deliveries, in
the transaction of the change that they report.
"""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Identity, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.jobs.tables import Base

_ID_CHARS = 64
_KEY_CHARS = 255
_URL_CHARS = 2048


class Webhook(Base):
    """Where a workspace wants to learn of events; without `url`, where its requests say."""

    __tablename__ = "webhooks"
    __table_args__ = (
        Index(
            "uq_webhooks_of_requests",
            "workspace_id",
            unique=True,
            postgresql_where=text("url IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(
        primary_key=True, default=uuid4, server_default=text("gen_random_uuid()")
    )
    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), index=True
    )
    url: Mapped[str | None] = mapped_column(String(_URL_CHARS))
    events: Mapped[list[str]] = mapped_column(ARRAY(String(_ID_CHARS)))
    secret: Mapped[str] = mapped_column(String(_KEY_CHARS))
    previous_secret: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
    previous_secret_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(_KEY_CHARS))


class WebhookDelivery(Base):
    """One event for one receiver; `job` is the row of the job when it happened."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(
            "ix_webhook_deliveries_waiting",
            "receiver",
            "next_try_at",
            "number",
            postgresql_where=text("next_try_at IS NOT NULL"),
        ),
        Index("ix_webhook_deliveries_newest", "webhook_id", "number"),
    )

    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    id: Mapped[UUID] = mapped_column(
        unique=True, default=uuid4, server_default=text("gen_random_uuid()")
    )
    webhook_id: Mapped[UUID]
    job_id: Mapped[UUID] = mapped_column(
        ForeignKey("generation_jobs.id", ondelete="CASCADE"), index=True
    )
    receiver: Mapped[str] = mapped_column(String(512))
    url: Mapped[str | None] = mapped_column(String(_URL_CHARS))
    event: Mapped[str] = mapped_column(String(_ID_CHARS))
    job: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    tries: Mapped[int] = mapped_column(server_default="0")
    next_try_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    delivered_at: Mapped[datetime | None]
    status_code: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
