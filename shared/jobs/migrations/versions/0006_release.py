"""The row is the queue: what waits, what is released to which runtime, who may run how much.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

_COLUMNS = """
ALTER TABLE generation_jobs
    ADD COLUMN priority SMALLINT DEFAULT '0' NOT NULL,
    ADD COLUMN start_by TIMESTAMP WITH TIME ZONE,
    ADD COLUMN released_to VARCHAR(64),
    ADD COLUMN envelope_id VARCHAR(255),
    ADD CONSTRAINT ck_generation_jobs_priority CHECK (priority BETWEEN -1 AND 1),
    SET (fillfactor = 85);

DROP INDEX ix_generation_jobs_waiting;
DROP INDEX ix_generation_jobs_leases;
CREATE INDEX ix_generation_jobs_fresh
    ON generation_jobs (workspace_id, priority DESC, created_at, id)
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NULL;
CREATE INDEX ix_generation_jobs_due ON generation_jobs (next_attempt_at)
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NOT NULL;
CREATE INDEX ix_generation_jobs_released ON generation_jobs (dispatched_at)
    WHERE status = 'PENDING' AND dispatched_at IS NOT NULL;
CREATE INDEX ix_generation_jobs_running ON generation_jobs (workspace_id)
    WHERE status = 'PROCESSING';
CREATE INDEX ix_generation_jobs_start_by ON generation_jobs (start_by)
    WHERE status = 'PENDING' AND start_by IS NOT NULL;
"""

_TABLES = """
ALTER TABLE idempotency_keys DROP CONSTRAINT fk_idempotency_keys_job_id;

CREATE TABLE workers (
    owner VARCHAR(255) NOT NULL,
    runtime VARCHAR(64) NOT NULL,
    slots INTEGER NOT NULL,
    version VARCHAR(64) NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_workers PRIMARY KEY (owner),
    CONSTRAINT ck_workers_runtime CHECK (runtime IN ('celery', 'lambda')),
    CONSTRAINT ck_workers_slots CHECK (slots >= 0)
);

CREATE TABLE workspace_limits (
    workspace_id VARCHAR(64) NOT NULL,
    open_jobs INTEGER,
    running_jobs INTEGER,
    submissions_per_minute INTEGER,
    paused_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_workspace_limits PRIMARY KEY (workspace_id),
    CONSTRAINT fk_workspace_limits_workspace_id
        FOREIGN KEY(workspace_id) REFERENCES workspaces (id) ON DELETE CASCADE,
    CONSTRAINT ck_workspace_limits_limits
        CHECK (open_jobs >= 0 AND running_jobs >= 0 AND submissions_per_minute >= 0)
);

CREATE TABLE paused_providers (
    provider VARCHAR(64) NOT NULL,
    paused_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_paused_providers PRIMARY KEY (provider)
);

CREATE TABLE rejected_envelopes (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    runtime VARCHAR(64) NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    code VARCHAR(64) NOT NULL,
    reason VARCHAR(255) NOT NULL,
    body VARCHAR(4096) NOT NULL,
    CONSTRAINT pk_rejected_envelopes PRIMARY KEY (id)
);
CREATE INDEX ix_rejected_envelopes_received_at ON rejected_envelopes (received_at);

CREATE TABLE release_alarms (
    runtime VARCHAR(64) NOT NULL,
    wake_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_release_alarms PRIMARY KEY (runtime)
);
"""

# Each slot may have one envelope more than it runs, so that the next job starts at once.
_ROOM = """
CREATE VIEW release_room AS
SELECT capacity.runtime, capacity.slots, 2 * capacity.slots - used.jobs AS free
FROM (
    SELECT runtime, sum(slots)::int AS slots FROM workers WHERE expires_at > now() GROUP BY runtime
) capacity CROSS JOIN LATERAL (
    SELECT count(*)::int AS jobs FROM generation_jobs
    WHERE (status = 'PROCESSING' OR status = 'PENDING' AND dispatched_at IS NOT NULL)
        AND coalesce(released_to, capacity.runtime) = capacity.runtime
) used
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    for statements in (_COLUMNS, _TABLES, _ROOM):
        op.execute(statements)


def downgrade() -> None:
    """Bring the schema back to the revision before; waiting jobs count as not dispatched."""
    op.execute("DROP VIEW release_room")
    op.execute(
        "DROP TABLE release_alarms, rejected_envelopes, paused_providers, workspace_limits, workers"
    )
    op.execute("DELETE FROM idempotency_keys WHERE job_id NOT IN (SELECT id FROM generation_jobs)")
    op.execute(
        "ALTER TABLE idempotency_keys ADD CONSTRAINT fk_idempotency_keys_job_id"
        " FOREIGN KEY (job_id) REFERENCES generation_jobs (id) ON DELETE CASCADE"
    )
    for name in ("start_by", "running", "released", "due", "fresh"):
        op.execute(f"DROP INDEX ix_generation_jobs_{name}")
    op.execute(
        "ALTER TABLE generation_jobs DROP COLUMN envelope_id, DROP COLUMN released_to,"
        " DROP COLUMN start_by, DROP COLUMN priority, RESET (fillfactor)"
    )
    op.execute(
        "CREATE INDEX ix_generation_jobs_waiting ON generation_jobs (dispatched_at)"
        " WHERE status = 'PENDING';"
        "CREATE INDEX ix_generation_jobs_leases ON generation_jobs (lease_until)"
        " WHERE status = 'PROCESSING'"
    )
