"""What the calls of providers cost, and which jobs are old enough to be deleted.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

_COLUMNS = """
ALTER TABLE generation_attempts
    ADD COLUMN provider VARCHAR(64),
    ADD COLUMN model VARCHAR(255),
    ADD COLUMN provider_request_id VARCHAR(255),
    ADD COLUMN units JSONB,
    ADD COLUMN price_microdollars BIGINT,
    ADD CONSTRAINT ck_generation_attempts_price CHECK (price_microdollars >= 0);
ALTER TABLE images ALTER COLUMN model TYPE VARCHAR(255);
CREATE INDEX ix_generation_jobs_finished_at ON generation_jobs (finished_at)
    WHERE finished_at IS NOT NULL;
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_COLUMNS)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP INDEX ix_generation_jobs_finished_at")
    op.execute("ALTER TABLE images ALTER COLUMN model TYPE VARCHAR(64)")
    op.execute(
        "ALTER TABLE generation_attempts DROP COLUMN price_microdollars, DROP COLUMN units,"
        " DROP COLUMN provider_request_id, DROP COLUMN model, DROP COLUMN provider"
    )
