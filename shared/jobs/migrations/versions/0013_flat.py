"""Statements that stay flat: lists by any filter, failures, costs and envelopes by an index.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None

_INDEXES = """
CREATE INDEX ix_generation_jobs_listed
    ON generation_jobs (workspace_id, status, created_at DESC, id DESC);
CREATE INDEX ix_generation_jobs_of_product
    ON generation_jobs (workspace_id, product_id, status, created_at DESC, id DESC)
    WHERE product_id IS NOT NULL;
DROP INDEX ix_generation_jobs_workspace_id_product_id;
CREATE INDEX ix_generation_jobs_envelope_id ON generation_jobs (envelope_id)
    WHERE finished_at IS NULL AND envelope_id IS NOT NULL;
CREATE INDEX ix_generation_jobs_failed ON generation_jobs (finished_at, id)
    WHERE status = 'FAILED';
CREATE INDEX ix_generation_attempts_finished_at ON generation_attempts (finished_at)
    WHERE finished_at IS NOT NULL;
DROP INDEX ix_generation_jobs_running;
CREATE INDEX ix_generation_jobs_running ON generation_jobs (time_limit_at)
    WHERE status = 'PROCESSING'
"""

# Past its time limit no attempt runs, and an hour after it was sent no envelope waits behind
# another: without such bounds the count would visit every job that has run since the oldest open
# transaction of the server began.
_BUSY = """
CREATE VIEW busy_jobs AS
SELECT id, workspace_id, released_to FROM generation_jobs
WHERE status = 'PROCESSING' AND time_limit_at > now()
UNION ALL
SELECT id, workspace_id, released_to FROM generation_jobs
WHERE status = 'PENDING' AND dispatched_at > now() - interval '1 hour'
"""

_ROOM = """
CREATE OR REPLACE VIEW release_room AS
SELECT capacity.runtime, capacity.slots, 2 * capacity.slots - used.jobs AS free
FROM (
    SELECT runtime, sum(slots)::int AS slots FROM workers WHERE expires_at > now() GROUP BY runtime
) capacity CROSS JOIN LATERAL (
    SELECT count(*)::int AS jobs FROM {busy}
        AND coalesce(released_to, capacity.runtime) = capacity.runtime
) used
"""
_ROOM_BEFORE = _ROOM.format(
    busy="generation_jobs"
    " WHERE (status = 'PROCESSING' OR status = 'PENDING' AND dispatched_at IS NOT NULL)"
)


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_INDEXES)
    op.execute(_BUSY)
    op.execute(_ROOM.format(busy="busy_jobs WHERE true"))


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute(_ROOM_BEFORE)
    op.execute("DROP VIEW busy_jobs")
    op.execute(
        "DROP INDEX ix_generation_attempts_finished_at;"
        "DROP INDEX ix_generation_jobs_running;"
        "CREATE INDEX ix_generation_jobs_running ON generation_jobs (workspace_id)"
        " WHERE status = 'PROCESSING';"
        "CREATE INDEX ix_generation_jobs_workspace_id_product_id"
        " ON generation_jobs (workspace_id, product_id) WHERE product_id IS NOT NULL"
    )
    for name in ("failed", "envelope_id", "of_product", "listed"):
        op.execute(f"DROP INDEX ix_generation_jobs_{name}")
