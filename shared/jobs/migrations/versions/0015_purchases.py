"""Purchases: images that a provider makes later, by name, with the bill of each.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(
        "ALTER TABLE generation_attempts ADD COLUMN purchases JSONB,"
        " ADD COLUMN asked_at TIMESTAMP WITH TIME ZONE"
    )
    op.execute(
        "CREATE INDEX ix_generation_attempts_asked_at ON generation_attempts (asked_at)"
        " WHERE charge_state = 'unknown'"
    )


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP INDEX ix_generation_attempts_asked_at")
    op.execute("ALTER TABLE generation_attempts DROP COLUMN purchases, DROP COLUMN asked_at")
