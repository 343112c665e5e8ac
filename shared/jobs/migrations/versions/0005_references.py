"""Pictures that clients upload, and the jobs that show them.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None

_UPGRADE = """
ALTER TABLE assets
    ALTER COLUMN product_id DROP NOT NULL,
    ADD COLUMN width_px INTEGER,
    ADD COLUMN height_px INTEGER,
    ADD COLUMN sha256 VARCHAR(64),
    ADD CONSTRAINT ck_assets_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    ADD CONSTRAINT uq_assets_workspace_id_id UNIQUE (workspace_id, id),
    ADD CONSTRAINT fk_assets_workspace_id_workspaces
        FOREIGN KEY (workspace_id) REFERENCES workspaces (id);
ALTER TABLE generation_jobs
    ADD COLUMN source_asset_id UUID,
    ADD CONSTRAINT fk_generation_jobs_workspace_id_source_asset_id_assets
        FOREIGN KEY (workspace_id, source_asset_id) REFERENCES assets (workspace_id, id);
CREATE INDEX ix_generation_jobs_source_asset_id ON generation_jobs (source_asset_id)
    WHERE source_asset_id IS NOT NULL;
"""

_DOWNGRADE = """
DROP INDEX ix_generation_jobs_source_asset_id;
ALTER TABLE generation_jobs
    DROP CONSTRAINT fk_generation_jobs_workspace_id_source_asset_id_assets,
    DROP COLUMN source_asset_id;
ALTER TABLE assets
    DROP CONSTRAINT fk_assets_workspace_id_workspaces,
    DROP CONSTRAINT uq_assets_workspace_id_id,
    DROP CONSTRAINT ck_assets_sha256,
    DROP COLUMN sha256, DROP COLUMN height_px, DROP COLUMN width_px;
DELETE FROM assets WHERE product_id IS NULL;
ALTER TABLE assets ALTER COLUMN product_id SET NOT NULL;
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_UPGRADE)


def downgrade() -> None:
    """Bring the schema back to the revision before; assets of no product are lost."""
    op.execute(_DOWNGRADE)
