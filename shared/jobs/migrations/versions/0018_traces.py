"""Traces: what names the request that made a job, to its attempts and deliveries.

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(
        "ALTER TABLE generation_jobs ADD COLUMN traceparent VARCHAR(64),"
        " ADD COLUMN request_id VARCHAR(255)"
    )


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("ALTER TABLE generation_jobs DROP COLUMN request_id, DROP COLUMN traceparent")
