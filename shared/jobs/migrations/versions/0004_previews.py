"""Previews: the newest partial image of each position.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

_TABLE = """
CREATE TABLE previews (
    id UUID NOT NULL CONSTRAINT uq_previews_id UNIQUE,
    job_id UUID NOT NULL
        CONSTRAINT fk_previews_job_id REFERENCES generation_jobs (id) ON DELETE CASCADE,
    position SMALLINT NOT NULL CONSTRAINT ck_previews_position CHECK (position >= 0),
    token BIGINT NOT NULL,
    number INTEGER NOT NULL DEFAULT 1 CONSTRAINT ck_previews_number CHECK (number >= 1),
    storage_key VARCHAR(255) NOT NULL,
    media_type VARCHAR(64) NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT pk_previews PRIMARY KEY (job_id, position),
    CONSTRAINT ck_previews_size CHECK (width_px > 0 AND height_px > 0)
);
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_TABLE)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP TABLE previews")
