"""Fair shares: which jobs wait for a slot, and how many requests a workspace has sent.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None

_UPGRADE = """
CREATE TABLE submission_windows (
    workspace_id VARCHAR(64) NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    submissions INTEGER NOT NULL,
    CONSTRAINT pk_submission_windows PRIMARY KEY (workspace_id)
) WITH (fillfactor = 50);

CREATE VIEW fresh_jobs AS
SELECT id, workspace_id, priority, created_at FROM generation_jobs
WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NULL
    AND (start_by IS NULL OR start_by > now())
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_UPGRADE)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP VIEW fresh_jobs; DROP TABLE submission_windows")
