"""Jobs that retry others: which one, so that none is retried twice in bulk.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute("ALTER TABLE generation_jobs ADD COLUMN retry_of UUID")
    op.execute(
        "CREATE INDEX ix_generation_jobs_retry_of ON generation_jobs (retry_of)"
        " WHERE retry_of IS NOT NULL"
    )


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("ALTER TABLE generation_jobs DROP COLUMN retry_of")
