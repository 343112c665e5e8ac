"""The shop's tables, the jobs, the ledger and the images; the workspace `default`."""

from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_SHOP_TABLES = """
CREATE TABLE workspaces (
    id VARCHAR(64) NOT NULL,
    name VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_workspaces PRIMARY KEY (id)
);

CREATE TABLE users (
    id VARCHAR(64) NOT NULL,
    workspace_id VARCHAR(64) NOT NULL,
    email VARCHAR(255),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_workspace_id_id UNIQUE (workspace_id, id),
    CONSTRAINT fk_users_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);

CREATE TABLE products (
    id VARCHAR(64) NOT NULL,
    workspace_id VARCHAR(64) NOT NULL,
    name VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_products PRIMARY KEY (id),
    CONSTRAINT uq_products_workspace_id_id UNIQUE (workspace_id, id),
    CONSTRAINT fk_products_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);

CREATE TABLE assets (
    id UUID NOT NULL,
    workspace_id VARCHAR(64) NOT NULL,
    product_id VARCHAR(64) NOT NULL,
    storage_key VARCHAR(255) NOT NULL,
    media_type VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_assets PRIMARY KEY (id),
    CONSTRAINT fk_assets_workspace_id_product_id
        FOREIGN KEY(workspace_id, product_id) REFERENCES products (workspace_id, id),
    CONSTRAINT ck_assets_size CHECK (size_bytes > 0),
    CONSTRAINT uq_assets_storage_key UNIQUE (storage_key)
);
CREATE INDEX ix_assets_workspace_id_product_id ON assets (workspace_id, product_id);
"""

_JOBS_TABLES = """
CREATE TYPE job_status AS ENUM ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED');

CREATE TABLE generation_jobs (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    task_id VARCHAR(255) DEFAULT (gen_random_uuid())::text NOT NULL,
    workspace_id VARCHAR(64) NOT NULL,
    user_id VARCHAR(64),
    product_id VARCHAR(64),
    status job_status DEFAULT 'PENDING' NOT NULL,
    progress SMALLINT DEFAULT '0' NOT NULL,
    message VARCHAR DEFAULT 'Queued' NOT NULL,
    params JSONB NOT NULL,
    result JSONB,
    error JSONB,
    attempt SMALLINT DEFAULT '0' NOT NULL,
    max_attempts SMALLINT DEFAULT '3' NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE,
    lease_until TIMESTAMP WITH TIME ZONE,
    lease_owner VARCHAR(255),
    lease_token BIGINT DEFAULT '0' NOT NULL,
    time_limit_at TIMESTAMP WITH TIME ZONE,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    dispatched_at TIMESTAMP WITH TIME ZONE,
    dispatches INTEGER DEFAULT '0' NOT NULL,
    announced_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_generation_jobs PRIMARY KEY (id),
    CONSTRAINT fk_generation_jobs_workspace_id_user_id
        FOREIGN KEY(workspace_id, user_id) REFERENCES users (workspace_id, id),
    CONSTRAINT fk_generation_jobs_workspace_id_product_id
        FOREIGN KEY(workspace_id, product_id) REFERENCES products (workspace_id, id),
    CONSTRAINT ck_generation_jobs_progress CHECK (progress BETWEEN 0 AND 100),
    CONSTRAINT ck_generation_jobs_attempt
        CHECK (max_attempts >= 1 AND attempt BETWEEN 0 AND max_attempts),
    CONSTRAINT ck_generation_jobs_pending CHECK (status <> 'PENDING' OR attempt < max_attempts),
    CONSTRAINT ck_generation_jobs_lease
        CHECK ((status = 'PROCESSING') = (lease_until IS NOT NULL AND lease_owner IS NOT NULL
            AND time_limit_at IS NOT NULL)),
    CONSTRAINT ck_generation_jobs_finished
        CHECK ((status IN ('COMPLETED', 'FAILED')) = (finished_at IS NOT NULL)),
    CONSTRAINT ck_generation_jobs_completed
        CHECK (status <> 'COMPLETED' OR (progress = 100 AND result IS NOT NULL)),
    CONSTRAINT ck_generation_jobs_failed CHECK (status <> 'FAILED' OR error IS NOT NULL),
    CONSTRAINT ck_generation_jobs_announced CHECK (announced_at IS NULL OR finished_at IS NOT NULL),
    CONSTRAINT uq_generation_jobs_task_id UNIQUE (task_id),
    CONSTRAINT fk_generation_jobs_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);
CREATE INDEX ix_generation_jobs_leases ON generation_jobs (lease_until) WHERE status = 'PROCESSING';
CREATE INDEX ix_generation_jobs_newest ON generation_jobs (workspace_id, created_at DESC, id DESC);
CREATE INDEX ix_generation_jobs_unannounced ON generation_jobs (finished_at)
    WHERE finished_at IS NOT NULL AND announced_at IS NULL;
CREATE INDEX ix_generation_jobs_waiting ON generation_jobs (dispatched_at) WHERE status = 'PENDING';
CREATE INDEX ix_generation_jobs_workspace_id_product_id
    ON generation_jobs (workspace_id, product_id) WHERE product_id IS NOT NULL;
CREATE INDEX ix_generation_jobs_workspace_id_user_id ON generation_jobs (workspace_id, user_id)
    WHERE user_id IS NOT NULL;
"""

_LEDGER_TABLES = """
CREATE TABLE generation_attempts (
    job_id UUID NOT NULL,
    number SMALLINT NOT NULL,
    token BIGINT NOT NULL,
    runtime VARCHAR(64) NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    outcome VARCHAR(64),
    error JSONB,
    charge_state VARCHAR(64) DEFAULT 'unknown' NOT NULL,
    CONSTRAINT pk_generation_attempts PRIMARY KEY (job_id, number),
    CONSTRAINT uq_generation_attempts_job_id_token UNIQUE (job_id, token),
    CONSTRAINT ck_generation_attempts_number CHECK (number >= 1),
    CONSTRAINT ck_generation_attempts_runtime CHECK (runtime IN ('celery', 'lambda')),
    CONSTRAINT ck_generation_attempts_outcome CHECK (outcome IN ('completed', 'failed', 'lost')),
    CONSTRAINT ck_generation_attempts_finished CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    CONSTRAINT ck_generation_attempts_charge_state
        CHECK (charge_state IN ('none', 'charged', 'unknown')),
    CONSTRAINT fk_generation_attempts_job_id
        FOREIGN KEY(job_id) REFERENCES generation_jobs (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX uq_generation_attempts_open ON generation_attempts (job_id)
    WHERE finished_at IS NULL;

CREATE TABLE images (
    id UUID NOT NULL,
    job_id UUID NOT NULL,
    position SMALLINT NOT NULL,
    url VARCHAR(255) NOT NULL,
    storage_key VARCHAR(255) NOT NULL,
    media_type VARCHAR(64) NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    seed BIGINT NOT NULL,
    provider VARCHAR(64) NOT NULL,
    model VARCHAR(64) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_images PRIMARY KEY (id),
    CONSTRAINT uq_images_job_id_position UNIQUE (job_id, position),
    CONSTRAINT ck_images_position CHECK (position >= 0),
    CONSTRAINT ck_images_size CHECK (width_px > 0 AND height_px > 0 AND size_bytes > 0),
    CONSTRAINT ck_images_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT fk_images_job_id
        FOREIGN KEY(job_id) REFERENCES generation_jobs (id) ON DELETE CASCADE
);
"""

_DEFAULT_WORKSPACE = "INSERT INTO workspaces (id, name) VALUES ('default', 'Default')"


def upgrade() -> None:
    """Bring the schema to this revision."""
    for statements in (_SHOP_TABLES, _JOBS_TABLES, _LEDGER_TABLES, _DEFAULT_WORKSPACE):
        op.execute(statements)


def downgrade() -> None:
    """Bring the schema back to the revision before."""
    op.execute("DROP TABLE images, generation_attempts, generation_jobs")
    op.execute("DROP TABLE assets, products, users, workspaces")
    op.execute("DROP TYPE job_status")
