"""Rows that another program inserts start at once: PostgreSQL notifies the workers.

Revision ID: 0022
Revises: 0021
"""

from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | None = None
depends_on: str | None = None

# Not for jobs that Darkroom accepts: it names their provider and releases them itself, and the
# commits of transactions that notify wait for each other (PostgreSQL, commands/async.c).
_TRIGGER = """
CREATE FUNCTION notify_of_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('darkroom_jobs', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER notify_of_jobs AFTER INSERT ON generation_jobs FOR EACH ROW
    WHEN (NEW.provider IS NULL AND NEW.status = 'PENDING')
    EXECUTE FUNCTION notify_of_jobs()
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_TRIGGER)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP TRIGGER notify_of_jobs ON generation_jobs; DROP FUNCTION notify_of_jobs()")
