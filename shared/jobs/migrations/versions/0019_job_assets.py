"""Jobs with several reference pictures and a mask; what a job needs is not deleted.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | None = None
depends_on: str | None = None

_TABLE = """
ALTER TABLE generation_jobs ADD COLUMN reference_asset_ids UUID[], ADD COLUMN mask_asset_id UUID;

CREATE TABLE job_assets (
    job_id UUID NOT NULL,
    workspace_id VARCHAR(64) NOT NULL,
    asset_id UUID NOT NULL,
    CONSTRAINT pk_job_assets PRIMARY KEY (job_id, asset_id),
    CONSTRAINT fk_job_assets_job_id
        FOREIGN KEY (job_id) REFERENCES generation_jobs (id) ON DELETE CASCADE,
    CONSTRAINT fk_job_assets_workspace_id_asset_id
        FOREIGN KEY (workspace_id, asset_id) REFERENCES assets (workspace_id, id)
);
CREATE INDEX ix_job_assets_asset_id ON job_assets (asset_id)
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_TABLE)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute(
        "DROP TABLE job_assets;"
        " ALTER TABLE generation_jobs DROP COLUMN mask_asset_id, DROP COLUMN reference_asset_ids"
    )
