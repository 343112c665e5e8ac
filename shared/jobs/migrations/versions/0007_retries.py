"""Retries of clients without an idempotency key: which of their requests came first.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute("ALTER TABLE idempotency_keys ADD COLUMN is_first BOOLEAN DEFAULT 'false' NOT NULL")


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("ALTER TABLE idempotency_keys DROP COLUMN is_first")
