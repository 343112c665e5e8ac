"""What the HTTP API needs: keys of workspaces, idempotency keys, a count of open jobs.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

_TABLES = """
CREATE TABLE api_keys (
    id VARCHAR(64) NOT NULL,
    workspace_id VARCHAR(64) NOT NULL,
    name VARCHAR(255) NOT NULL,
    key_sha256 VARCHAR(64) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT uq_api_keys_key_sha256 UNIQUE (key_sha256),
    CONSTRAINT ck_api_keys_key_sha256 CHECK (key_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT fk_api_keys_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);
CREATE INDEX ix_api_keys_workspace_id ON api_keys (workspace_id);

CREATE TABLE idempotency_keys (
    workspace_id VARCHAR(64) NOT NULL,
    key VARCHAR(255) NOT NULL,
    request_sha256 VARCHAR(64) NOT NULL,
    job_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (workspace_id, key),
    CONSTRAINT fk_idempotency_keys_job_id
        FOREIGN KEY(job_id) REFERENCES generation_jobs (id) ON DELETE CASCADE
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
CREATE INDEX ix_idempotency_keys_job_id ON idempotency_keys (job_id);

CREATE INDEX ix_generation_jobs_open ON generation_jobs (workspace_id)
    WHERE status IN ('PENDING', 'PROCESSING');
"""


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP INDEX ix_generation_jobs_open")
    op.execute("DROP TABLE idempotency_keys, api_keys")
