"""Each workspace has its own ids of users and products, as the shop has them; more filters.

Revision ID: 0021
Revises: 0020
"""

from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | None = None
depends_on: str | None = None

_KEYS = """
ALTER TABLE {table} DROP CONSTRAINT pk_{table},
    ADD CONSTRAINT pk_{table} PRIMARY KEY ({columns})
"""

_INDEXES = """
CREATE INDEX ix_generation_jobs_of_user
    ON generation_jobs (workspace_id, user_id, status, created_at DESC, id DESC)
    WHERE user_id IS NOT NULL;
DROP INDEX ix_generation_jobs_workspace_id_user_id;
CREATE INDEX ix_generation_jobs_of_error
    ON generation_jobs (workspace_id, (error ->> 'code'), status, created_at DESC, id DESC)
    WHERE (error ->> 'code') IS NOT NULL;
CREATE INDEX ix_generation_jobs_of_end ON generation_jobs (workspace_id, finished_at DESC, id DESC)
    WHERE finished_at IS NOT NULL;
CREATE INDEX ix_generation_jobs_of_metadata ON generation_jobs USING gin ((params -> 'metadata'))
    WHERE params -> 'metadata' <> '{}'
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    for table in ("users", "products"):
        op.execute(_KEYS.format(table=table, columns="workspace_id, id"))
    op.execute(_INDEXES)


def downgrade() -> None:
    """Bring the schema back to the revision before; fails where workspaces share an id."""
    for name in ("metadata", "end", "error", "user"):
        op.execute(f"DROP INDEX ix_generation_jobs_of_{name}")
    op.execute(
        "CREATE INDEX ix_generation_jobs_workspace_id_user_id"
        " ON generation_jobs (workspace_id, user_id) WHERE user_id IS NOT NULL"
    )
    for table in ("users", "products"):
        op.execute(_KEYS.format(table=table, columns="id"))
