"""The tables of API keys and of the audit, as SQLAlchemy maps them for migrations.

`shared.access` reads and writes them.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Identity, String, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.jobs.tables import Base

_ID_CHARS = 64
_KEY_CHARS = 255


class ApiKey(Base):
    """A key of a workspace; only its hash is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("key_sha256 ~ '^[0-9a-f]{64}$'", name="key_sha256"),
        CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ '{submit,read,cancel,admin}'", name="scopes"
        ),
    )

    id: Mapped[str] = mapped_column(String(_ID_CHARS), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)
    name: Mapped[str] = mapped_column(String(_KEY_CHARS))
    key_sha256: Mapped[str] = mapped_column(String(_ID_CHARS), unique=True)
    scopes: Mapped[list[str]] = mapped_column(
        ARRAY(String(_ID_CHARS)), server_default="{submit,read,cancel}"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]


class AuditedAction(Base):
    """What an operator did; `error` says why it was not done."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    who: Mapped[str]
    action: Mapped[str] = mapped_column(String(_ID_CHARS))
    target: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    error: Mapped[str | None] = mapped_column(String(_ID_CHARS))
