"""Budgets: what each job costs at most, and what each workspace has spent, by day.

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | None = None
depends_on: str | None = None

_TABLES = """
ALTER TABLE generation_jobs ADD COLUMN quoted_microdollars BIGINT;
ALTER TABLE workspace_limits ADD COLUMN cost_per_day BIGINT, ADD COLUMN cost_per_month BIGINT,
    DROP CONSTRAINT ck_workspace_limits_limits,
    ADD CONSTRAINT ck_workspace_limits_limits
        CHECK (open_jobs >= 0 AND running_jobs >= 0 AND submissions_per_minute >= 0
            AND cost_per_day >= 0 AND cost_per_month >= 0);

CREATE TABLE workspace_costs (
    workspace_id VARCHAR(64) NOT NULL,
    day DATE NOT NULL,
    microdollars BIGINT NOT NULL,
    CONSTRAINT pk_workspace_costs PRIMARY KEY (workspace_id, day),
    CONSTRAINT fk_workspace_costs_workspace_id
        FOREIGN KEY(workspace_id) REFERENCES workspaces (id) ON DELETE CASCADE
);
CREATE VIEW workspace_spent AS
SELECT workspace_id,
    coalesce(sum(microdollars) FILTER (WHERE day = (now() AT TIME ZONE 'UTC')::date), 0) AS today,
    sum(microdollars) AS this_month
FROM workspace_costs WHERE day >= date_trunc('month', now() AT TIME ZONE 'UTC')::date
GROUP BY workspace_id
"""

# In the transaction of the change, whichever program makes it. A call in doubt counts in full, as
# does one without a price; a line counts on the day on which it began. The deletion of a job
# leaves what it has cost. Two months are kept.
_TRIGGERS = """
CREATE FUNCTION count_costs() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    line CONSTANT generation_attempts := coalesce(NEW, OLD);
    began_on CONSTANT date := (line.started_at AT TIME ZONE 'UTC')::date;
    spender text;
    quoted bigint;
    added bigint;
BEGIN
    SELECT workspace_id, coalesce(quoted_microdollars, 0) INTO spender, quoted
    FROM generation_jobs WHERE id = line.job_id;
    added := CASE NEW.charge_state
            WHEN 'charged' THEN coalesce(NEW.price_microdollars, quoted)
            WHEN 'unknown' THEN greatest(NEW.price_microdollars, quoted) ELSE 0 END
        - CASE OLD.charge_state
            WHEN 'charged' THEN coalesce(OLD.price_microdollars, quoted)
            WHEN 'unknown' THEN greatest(OLD.price_microdollars, quoted) ELSE 0 END;
    IF spender IS NOT NULL AND added <> 0 THEN
        INSERT INTO workspace_costs AS total (workspace_id, day, microdollars)
        VALUES (spender, began_on, added)
        ON CONFLICT (workspace_id, day)
            DO UPDATE SET microdollars = total.microdollars + excluded.microdollars;
        DELETE FROM workspace_costs WHERE workspace_id = spender AND day < began_on - 62;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_new_costs AFTER INSERT ON generation_attempts FOR EACH ROW
    WHEN (NEW.charge_state <> 'none') EXECUTE FUNCTION count_costs();
CREATE TRIGGER count_changed_costs AFTER UPDATE ON generation_attempts FOR EACH ROW
    WHEN ((NEW.charge_state, NEW.price_microdollars)
        IS DISTINCT FROM (OLD.charge_state, OLD.price_microdollars))
    EXECUTE FUNCTION count_costs();
CREATE TRIGGER count_undone_costs AFTER DELETE ON generation_attempts FOR EACH ROW
    WHEN (OLD.finished_at IS NULL) EXECUTE FUNCTION count_costs()
"""


def upgrade() -> None:
    """Bring the schema to this revision; what was spent before is not counted."""
    op.execute(_TABLES)
    op.execute(_TRIGGERS)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    for name in ("new", "changed", "undone"):
        op.execute(f"DROP TRIGGER count_{name}_costs ON generation_attempts")
    op.execute("DROP FUNCTION count_costs()")
    op.execute("DROP VIEW workspace_spent")
    op.execute("DROP TABLE workspace_costs")
    op.execute(
        "ALTER TABLE workspace_limits DROP CONSTRAINT ck_workspace_limits_limits,"
        " DROP COLUMN cost_per_day, DROP COLUMN cost_per_month,"
        " ADD CONSTRAINT ck_workspace_limits_limits"
        " CHECK (open_jobs >= 0 AND running_jobs >= 0 AND submissions_per_minute >= 0)"
    )
    op.execute("ALTER TABLE generation_jobs DROP COLUMN quoted_microdollars")
