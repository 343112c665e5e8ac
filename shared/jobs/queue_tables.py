"""The tables of the queue, as SQLAlchemy maps them for migrations: slots, limits, pauses.

`shared.jobs.release_store` reads and writes most of them. The names of Celery's queues stand in
`shared.adapters.celery_broker`.
"""

from datetime import date, datetime
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    String,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.jobs.tables import Base

_ID_CHARS = 64
_KEY_CHARS = 255


class JobAsset(Base):
    """A picture or a mask that a job is based on, besides its `source_asset_id`."""

    __tablename__ = "job_assets"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "asset_id"], ["assets.workspace_id", "assets.id"]),
        Index(None, "asset_id"),
    )

    job_id: Mapped[UUID] = mapped_column(
        ForeignKey("generation_jobs.id", ondelete="CASCADE"), primary_key=True
    )
    workspace_id: Mapped[str] = mapped_column(String(_ID_CHARS))
    asset_id: Mapped[UUID] = mapped_column(primary_key=True)


class WorkerSlots(Base):
    """A process that runs jobs, and how many at once; gone from the count when it expires."""

    __tablename__ = "workers"
    __table_args__ = (
        CheckConstraint("runtime IN ('celery', 'lambda')", name="runtime"),
        CheckConstraint("slots >= 0", name="slots"),
    )

    owner: Mapped[str] = mapped_column(String(_KEY_CHARS), primary_key=True)
    runtime: Mapped[str] = mapped_column(String(_ID_CHARS))
    slots: Mapped[int]
    version: Mapped[str] = mapped_column(String(_ID_CHARS))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class WorkspaceLimits(Base):
    """What one workspace may do; NULL means the default of the settings."""

    __tablename__ = "workspace_limits"
    __table_args__ = (
        CheckConstraint(
            "open_jobs >= 0 AND running_jobs >= 0 AND submissions_per_minute >= 0"
            " AND cost_per_day >= 0 AND cost_per_month >= 0",
            name="limits",
        ),
    )

    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True
    )
    open_jobs: Mapped[int | None]
    running_jobs: Mapped[int | None]
    submissions_per_minute: Mapped[int | None]
    cost_per_day: Mapped[int | None] = mapped_column(BigInteger)
    cost_per_month: Mapped[int | None] = mapped_column(BigInteger)
    models: Mapped[list[str] | None] = mapped_column(ARRAY(String(_KEY_CHARS)))
    paused_at: Mapped[datetime | None]


class PausedProvider(Base):
    """A provider that is not called until it is resumed; its jobs wait in their rows.

    Held by its own wish until `resumes_at`; NULL: paused by an operator.
    """

    __tablename__ = "paused_providers"

    provider: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    paused_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resumes_at: Mapped[datetime | None]


class RejectedEnvelope(Base):
    """A message from the queue that names no job of ours, with the reason."""

    __tablename__ = "rejected_envelopes"

    id: Mapped[UUID] = mapped_column(
        primary_key=True, default=uuid4, server_default=text("gen_random_uuid()")
    )
    runtime: Mapped[str] = mapped_column(String(_ID_CHARS))
    received_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    code: Mapped[str] = mapped_column(String(_ID_CHARS))
    reason: Mapped[str] = mapped_column(String(_KEY_CHARS))
    body: Mapped[str] = mapped_column(String(4096))


class ReleaseAlarm(Base):
    """When a runtime that has no timer of its own wakes next to release due jobs."""

    __tablename__ = "release_alarms"

    runtime: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    wake_at: Mapped[datetime]


class SubmissionWindow(Base):
    """How many requests a workspace has sent within a minute, if that is limited."""

    __tablename__ = "submission_windows"

    workspace_id: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())
    submissions: Mapped[int]


class WorkspaceCosts(Base):
    """What the calls that began on a day have cost a workspace; written by a trigger.

    A call whose bill is not known counts in full.
    """

    __tablename__ = "workspace_costs"

    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date] = mapped_column(primary_key=True)
    microdollars: Mapped[int] = mapped_column(BigInteger)


class MetricTotal(Base):
    """One number that only grows, summed up from jobs when they have ended."""

    __tablename__ = "metric_totals"

    name: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    labels: Mapped[dict[str, str]] = mapped_column(JSONB, primary_key=True)
    value: Mapped[float]


class MetricHorizon(Base):
    """Up to which end of a job the totals are summed up; one row."""

    __tablename__ = "metric_horizon"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default="1")
    counted_to: Mapped[datetime] = mapped_column(server_default=func.now())


class IdempotencyKey(Base):
    """What a client called a request, so that it may repeat it; of no use after a day.

    `is_first` where the client gave no name, and the request was not a retry.
    """

    __tablename__ = "idempotency_keys"

    workspace_id: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    key: Mapped[str] = mapped_column(String(_KEY_CHARS), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(_ID_CHARS))
    is_first: Mapped[bool] = mapped_column(server_default="false")
    job_id: Mapped[UUID] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
