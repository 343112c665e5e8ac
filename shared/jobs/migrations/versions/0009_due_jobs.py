"""Due retries by workspace: a release finds those of each, whatever waits of the others.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(
        "CREATE INDEX ix_generation_jobs_retries ON generation_jobs (workspace_id, next_attempt_at)"
        " WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NOT NULL"
    )


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP INDEX ix_generation_jobs_retries")
