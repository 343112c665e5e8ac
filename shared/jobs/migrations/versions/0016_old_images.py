"""Images by their age: the old ones are found without reading all others.

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute("CREATE INDEX ix_images_created_at ON images (created_at, job_id)")


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP INDEX ix_images_created_at")
