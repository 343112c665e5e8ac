"""The model that makes the images of a job, and the models that a workspace may ask for.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None

_FRESH_JOBS = """
CREATE OR REPLACE VIEW fresh_jobs AS
SELECT id, workspace_id, priority, created_at{columns} FROM generation_jobs
WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NULL
    AND (start_by IS NULL OR start_by > now())
"""


def upgrade() -> None:
    """Bring the schema to this revision; jobs that are there name no model."""
    op.execute(
        "ALTER TABLE generation_jobs ADD COLUMN provider VARCHAR(64), ADD COLUMN model VARCHAR(255)"
    )
    op.execute(
        "CREATE INDEX ix_generation_jobs_of_model"
        " ON generation_jobs (workspace_id, model, status, created_at DESC, id DESC)"
        " WHERE model IS NOT NULL"
    )
    op.execute("ALTER TABLE workspace_limits ADD COLUMN models VARCHAR(255)[]")
    op.execute(_FRESH_JOBS.format(columns=", provider"))


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP VIEW fresh_jobs")
    op.execute(_FRESH_JOBS.format(columns=""))
    op.execute("ALTER TABLE workspace_limits DROP COLUMN models")
    op.execute("ALTER TABLE generation_jobs DROP COLUMN model, DROP COLUMN provider")
