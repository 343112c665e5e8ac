"""Metrics: what has ended, summed up as it ends, so that reading it costs the same at any size.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None

_TABLES = """
CREATE TABLE metric_totals (
    name VARCHAR(64) NOT NULL,
    labels JSONB NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_metric_totals PRIMARY KEY (name, labels)
) WITH (fillfactor = 50);

CREATE TABLE metric_horizon (
    id SMALLINT DEFAULT '1' NOT NULL,
    counted_to TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_metric_horizon PRIMARY KEY (id),
    CONSTRAINT ck_metric_horizon_id CHECK (id = 1)
);
INSERT INTO metric_horizon DEFAULT VALUES
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP TABLE metric_horizon, metric_totals")
