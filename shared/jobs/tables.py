"""The tables, as SQLAlchemy maps them: for migrations, for the shop's own rows, for reading.

What every job goes through is written by the statements of `store`, `attempts` and `recovery`;
they do not import this module, which keeps it out of the worker's start-up.
"""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    SmallInteger,
    String,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from shared.status import JobStatus

_ID_CHARS = 64
_KEY_CHARS = 255
_NEWEST_FIRST = ("created_at DESC", "id DESC")
_ENDED = "finished_at IS NOT NULL"
_MAKER = "coalesce(provider, '')"
_WAITS = "status = 'PENDING' AND dispatched_at IS NULL"


def _index(name: str, *columns: str, where: str) -> Index:
    return Index(f"ix_generation_jobs_{name}", *map(text, columns), postgresql_where=text(where))


class Base(DeclarativeBase):
    """Root of the mapped classes; names every constraint, so that migrations can."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read once by SQLAlchemy, never changed
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
    }


class Workspace(Base):
    """A tenant: everything else belongs to one."""

    __tablename__ = "workspaces"

    id: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    name: Mapped[str] = mapped_column(String(_KEY_CHARS))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    users: Mapped[list["User"]] = relationship(back_populates="workspace")
    products: Mapped[list["Product"]] = relationship(back_populates="workspace")
    assets: Mapped[list["Asset"]] = relationship(back_populates="workspace", overlaps="assets")
    jobs: Mapped[list["GenerationJob"]] = relationship(
        back_populates="workspace", overlaps="jobs,user,product"
    )


class User(Base):
    """A person who works in a workspace."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("workspace_id", "id"),)

    id: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    email: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    workspace: Mapped[Workspace] = relationship(back_populates="users")
    jobs: Mapped[list["GenerationJob"]] = relationship(
        back_populates="user", overlaps="jobs,workspace,product"
    )


class Product(Base):
    """A thing the shop sells and wants pictures of."""

    __tablename__ = "products"
    __table_args__ = (UniqueConstraint("workspace_id", "id"),)

    id: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(_KEY_CHARS))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    workspace: Mapped[Workspace] = relationship(back_populates="products")
    assets: Mapped[list["Asset"]] = relationship(
        back_populates="product", overlaps="assets,workspace"
    )
    jobs: Mapped[list["GenerationJob"]] = relationship(
        back_populates="product", overlaps="jobs,workspace,user"
    )


class Asset(Base):
    """A picture of the shop, which may have written the row itself, without sizes and hash."""

    __tablename__ = "assets"
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "product_id"], ["products.workspace_id", "products.id"]
        ),
        UniqueConstraint("workspace_id", "id"),
        Index(None, "workspace_id", "product_id"),
        CheckConstraint("size_bytes > 0", name="size"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"))
    product_id: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    storage_key: Mapped[str] = mapped_column(String(_KEY_CHARS), unique=True)
    media_type: Mapped[str] = mapped_column(String(_ID_CHARS))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width_px: Mapped[int | None]
    height_px: Mapped[int | None]
    sha256: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    workspace: Mapped[Workspace] = relationship(back_populates="assets", overlaps="assets")
    product: Mapped[Product | None] = relationship(
        back_populates="assets", overlaps="assets,workspace"
    )
    jobs: Mapped[list["GenerationJob"]] = relationship(
        back_populates="source_asset", overlaps="jobs,workspace,user,product"
    )


_FILTERS = {"of_product": "product_id", "of_user": "user_id", "of_model": "model"}
_FILTERS["of_error"] = "(error ->> 'code')"


class GenerationJob(Base):
    """One accepted request. `shared.jobs.model.Job` is its read-only picture."""

    __tablename__ = "generation_jobs"
    __table_args__ = (
        # What belongs to another workspace is nothing to refer to: the pair must exist.
        ForeignKeyConstraint(["workspace_id", "user_id"], ["users.workspace_id", "users.id"]),
        ForeignKeyConstraint(
            ["workspace_id", "product_id"], ["products.workspace_id", "products.id"]
        ),
        ForeignKeyConstraint(
            ["workspace_id", "source_asset_id"], ["assets.workspace_id", "assets.id"]
        ),
        _index("source_asset_id", "source_asset_id", where="source_asset_id IS NOT NULL"),
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
        CheckConstraint("priority BETWEEN -1 AND 1", name="priority"),
        CheckConstraint("max_attempts >= 1 AND attempt BETWEEN 0 AND max_attempts", name="attempt"),
        CheckConstraint("status <> 'PENDING' OR attempt < max_attempts", name="pending"),
        CheckConstraint(
            "(status = 'PROCESSING') = (lease_until IS NOT NULL AND lease_owner IS NOT NULL"
            " AND time_limit_at IS NOT NULL)",
            name="lease",
        ),
        CheckConstraint(
            "(status IN ('COMPLETED', 'FAILED')) = (finished_at IS NOT NULL)", name="finished"
        ),
        CheckConstraint(
            "status <> 'COMPLETED' OR (progress = 100 AND result IS NOT NULL)", name="completed"
        ),
        CheckConstraint("status <> 'FAILED' OR error IS NOT NULL", name="failed"),
        CheckConstraint("announced_at IS NULL OR finished_at IS NOT NULL", name="announced"),
        Index("ix_generation_jobs_newest", "workspace_id", *map(text, _NEWEST_FIRST)),
        Index("ix_generation_jobs_listed", "workspace_id", "status", *map(text, _NEWEST_FIRST)),
        *(
            _index(
                *(name, "workspace_id", column, "status", *_NEWEST_FIRST),
                where=f"{column} IS NOT NULL",
            )
            for name, column in _FILTERS.items()
        ),
        # Without `lease_until`: a lease is extended without touching an index.
        _index("running", "time_limit_at", where="status = 'PROCESSING'"),
        _index(
            *("fresh", "workspace_id", "priority DESC", "created_at", "id"),
            where=f"{_WAITS} AND next_attempt_at IS NULL",
        ),
        _index("due", "next_attempt_at", where=f"{_WAITS} AND next_attempt_at IS NOT NULL"),
        _index(
            *("by_provider", "workspace_id", _MAKER, "priority DESC", "created_at", "id"),
            where=f"{_WAITS} AND next_attempt_at IS NULL",
        ),
        _index(
            "retries",
            *("workspace_id", _MAKER, "next_attempt_at"),
            where=f"{_WAITS} AND next_attempt_at IS NOT NULL",
        ),
        _index(
            "released", "dispatched_at", where="status = 'PENDING' AND dispatched_at IS NOT NULL"
        ),
        _index("start_by", "start_by", where="status = 'PENDING' AND start_by IS NOT NULL"),
        _index(
            "unannounced", "finished_at", where="finished_at IS NOT NULL AND announced_at IS NULL"
        ),
        _index("finished_at", "finished_at", where=_ENDED),
        _index("retry_of", "retry_of", where="retry_of IS NOT NULL"),
        _index("open", "workspace_id", where="status IN ('PENDING', 'PROCESSING')"),
        _index("failed", "finished_at", "id", where="status = 'FAILED'"),
        _index(
            "envelope_id", "envelope_id", where="finished_at IS NULL AND envelope_id IS NOT NULL"
        ),
        _index("of_end", "workspace_id", "finished_at DESC", "id DESC", where=_ENDED),
        Index(
            "ix_generation_jobs_of_metadata",
            text("(params -> 'metadata')"),
            postgresql_using="gin",
            postgresql_where=text("params -> 'metadata' <> '{}'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(
        primary_key=True, default=uuid4, server_default=text("gen_random_uuid()")
    )
    task_id: Mapped[str] = mapped_column(
        String(_KEY_CHARS), unique=True, server_default=text("(gen_random_uuid())::text")
    )
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"))
    user_id: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    product_id: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    source_asset_id: Mapped[UUID | None]
    reference_asset_ids: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    mask_asset_id: Mapped[UUID | None]
    status: Mapped[JobStatus] = mapped_column(
        Enum(JobStatus, name="job_status"), server_default=JobStatus.PENDING.name
    )
    progress: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    message: Mapped[str] = mapped_column(server_default="Queued")
    params: Mapped[dict[str, Any]]
    provider: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    model: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    max_attempts: Mapped[int] = mapped_column(SmallInteger, server_default="3")
    next_attempt_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    lease_owner: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
    lease_token: Mapped[int] = mapped_column(BigInteger, server_default="0")
    time_limit_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    dispatches: Mapped[int] = mapped_column(server_default="0")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    start_by: Mapped[datetime | None]
    released_to: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    envelope_id: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
    retry_of: Mapped[UUID | None]
    webhook_url: Mapped[str | None] = mapped_column(String(2048))
    webhook_events: Mapped[list[str] | None] = mapped_column(ARRAY(String(_ID_CHARS)))
    traceparent: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    request_id: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
    quoted_microdollars: Mapped[int | None] = mapped_column(BigInteger)
    announced_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    workspace: Mapped[Workspace] = relationship(back_populates="jobs", overlaps="jobs")
    user: Mapped[User | None] = relationship(back_populates="jobs", overlaps="jobs,workspace")
    product: Mapped[Product | None] = relationship(
        back_populates="jobs", overlaps="jobs,workspace,user"
    )
    source_asset: Mapped[Asset | None] = relationship(
        back_populates="jobs", overlaps="jobs,workspace,user,product"
    )
    attempts: Mapped[list["GenerationAttempt"]] = relationship(
        back_populates="job", order_by="GenerationAttempt.number"
    )
    images: Mapped[list["Image"]] = relationship(back_populates="job", order_by="Image.position")


class GenerationAttempt(Base):
    """One line of the ledger: a try, how it ended, and what is known of its bill."""

    __tablename__ = "generation_attempts"
    __table_args__ = (
        UniqueConstraint("job_id", "token"),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("runtime IN ('celery', 'lambda')", name="runtime"),
        CheckConstraint("outcome IN ('completed', 'failed', 'lost')", name="outcome"),
        CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name="finished"),
        CheckConstraint("charge_state IN ('none', 'charged', 'unknown')", name="charge_state"),
        CheckConstraint("price_microdollars >= 0", name="price"),
        Index(
            "uq_generation_attempts_open",
            "job_id",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index(None, "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index(None, "asked_at", postgresql_where=text("charge_state = 'unknown'")),
    )

    job_id: Mapped[UUID] = mapped_column(
        ForeignKey("generation_jobs.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    token: Mapped[int] = mapped_column(BigInteger)
    runtime: Mapped[str] = mapped_column(String(_ID_CHARS))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    error: Mapped[dict[str, Any] | None]
    charge_state: Mapped[str] = mapped_column(String(_ID_CHARS), server_default="unknown")
    provider: Mapped[str | None] = mapped_column(String(_ID_CHARS))
    model: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
    provider_request_id: Mapped[str | None] = mapped_column(String(_KEY_CHARS))
    units: Mapped[dict[str, Any] | None]
    price_microdollars: Mapped[int | None] = mapped_column(BigInteger)
    purchases: Mapped[dict[str, Any] | None]
    asked_at: Mapped[datetime | None]

    job: Mapped[GenerationJob] = relationship(back_populates="attempts")


class Image(Base):
    """One finished picture; its bytes lie in the image store."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("job_id", "position"),
        CheckConstraint("position >= 0", name="position"),
        CheckConstraint("width_px > 0 AND height_px > 0 AND size_bytes > 0", name="size"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        Index("ix_images_created_at", "created_at", "job_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("generation_jobs.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(SmallInteger)
    url: Mapped[str] = mapped_column(String(_KEY_CHARS))
    storage_key: Mapped[str] = mapped_column(String(_KEY_CHARS))
    media_type: Mapped[str] = mapped_column(String(_ID_CHARS))
    width_px: Mapped[int]
    height_px: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(_ID_CHARS))
    seed: Mapped[int] = mapped_column(BigInteger)
    provider: Mapped[str] = mapped_column(String(_ID_CHARS))
    model: Mapped[str] = mapped_column(String(_KEY_CHARS))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    job: Mapped[GenerationJob] = relationship(back_populates="images")


class GenerationPreview(Base):
    """What a picture of a running attempt looks like so far; its bytes lie in the image store."""

    __tablename__ = "previews"
    __table_args__ = (
        CheckConstraint("position >= 0", name="position"),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("width_px > 0 AND height_px > 0", name="size"),
    )

    id: Mapped[UUID] = mapped_column(unique=True, default=uuid4)
    job_id: Mapped[UUID] = mapped_column(
        ForeignKey("generation_jobs.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    token: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[int] = mapped_column(server_default="1")
    storage_key: Mapped[str] = mapped_column(String(_KEY_CHARS))
    media_type: Mapped[str] = mapped_column(String(_ID_CHARS))
    width_px: Mapped[int]
    height_px: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
