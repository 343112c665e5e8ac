"""Limits of providers: holds that end by themselves, and waiting jobs by their provider.

Revision ID: 0023
Revises: 0022
"""

from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | None = None
depends_on: str | None = None

_FRESH_JOBS = """
CREATE OR REPLACE VIEW fresh_jobs AS
SELECT id, workspace_id, priority, created_at, provider{maker} FROM generation_jobs
WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NULL
    AND (start_by IS NULL OR start_by > now())
"""

_BUSY_JOBS = """
CREATE OR REPLACE VIEW busy_jobs AS
SELECT id, workspace_id, released_to{columns} FROM generation_jobs
WHERE status = 'PROCESSING' AND time_limit_at > now()
UNION ALL
SELECT id, workspace_id, released_to{columns} FROM generation_jobs
WHERE status = 'PENDING' AND dispatched_at > now() - interval '1 hour'
"""

_ROOM = """
CREATE VIEW release_room AS
SELECT capacity.runtime, capacity.slots, 2 * capacity.slots - used.jobs AS free
FROM (
    SELECT runtime, sum(slots)::int AS slots FROM workers WHERE expires_at > now() GROUP BY runtime
) capacity CROSS JOIN LATERAL (
    SELECT count(*)::int AS jobs FROM busy_jobs
    WHERE coalesce(released_to, capacity.runtime) = capacity.runtime
) used
"""

_HELD = """
ALTER TABLE paused_providers ADD COLUMN resumes_at TIMESTAMP WITH TIME ZONE;
CREATE VIEW held_providers AS
SELECT provider FROM paused_providers WHERE resumes_at IS NULL OR resumes_at > now();
CREATE VIEW calls_of_minute AS
SELECT provider, started_at FROM generation_attempts
WHERE finished_at IS NULL AND started_at > now() - interval '1 minute'
UNION ALL
SELECT provider, started_at FROM generation_attempts
WHERE finished_at > now() - interval '1 minute' AND started_at > now() - interval '1 minute'
"""

# A release visits the waiting jobs of one provider without those of another that is held.
_INDEXES = """
CREATE INDEX ix_generation_jobs_by_provider
    ON generation_jobs (workspace_id, coalesce(provider, ''), priority DESC, created_at, id)
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NULL;
DROP INDEX ix_generation_jobs_retries;
CREATE INDEX ix_generation_jobs_retries
    ON generation_jobs (workspace_id, coalesce(provider, ''), next_attempt_at)
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NOT NULL
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_HELD)
    op.execute(_FRESH_JOBS.format(maker=", coalesce(provider, '') AS maker"))
    op.execute(_BUSY_JOBS.format(columns=", provider, status"))
    op.execute(_INDEXES)


def downgrade() -> None:
    """Bring the schema back to the revision before; holds end."""
    op.execute(
        "DROP INDEX ix_generation_jobs_by_provider; DROP INDEX ix_generation_jobs_retries;"
        "CREATE INDEX ix_generation_jobs_retries ON generation_jobs (workspace_id, next_attempt_at)"
        " WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NOT NULL"
    )
    op.execute("DROP VIEW release_room, busy_jobs, fresh_jobs, held_providers, calls_of_minute")
    op.execute(_BUSY_JOBS.format(columns=""))
    op.execute(_ROOM)
    op.execute(_FRESH_JOBS.format(maker=""))
    op.execute("DELETE FROM paused_providers WHERE resumes_at IS NOT NULL")
    op.execute("ALTER TABLE paused_providers DROP COLUMN resumes_at")
