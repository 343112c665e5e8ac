"""The tables of version 0.1.0: the shop's, jobs, ledger, images, keys; the workspace `default`.

One migration, since no earlier revision was ever in a release.
"""

from alembic import op

revision: str = "0005"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_SHOP_TABLES = """
CREATE TABLE workspaces (
    id VARCHAR(64) CONSTRAINT pk_workspaces PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);

CREATE TABLE users (
    id VARCHAR(64) CONSTRAINT pk_users PRIMARY KEY,
    workspace_id VARCHAR(64) NOT NULL,
    email VARCHAR(255),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT uq_users_workspace_id_id UNIQUE (workspace_id, id),
    CONSTRAINT fk_users_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);

CREATE TABLE products (
    id VARCHAR(64) CONSTRAINT pk_products PRIMARY KEY,
    workspace_id VARCHAR(64) NOT NULL,
    name VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT uq_products_workspace_id_id UNIQUE (workspace_id, id),
    CONSTRAINT fk_products_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);

CREATE TABLE assets (
    id UUID CONSTRAINT pk_assets PRIMARY KEY,
    workspace_id VARCHAR(64) NOT NULL,
    product_id VARCHAR(64),
    storage_key VARCHAR(255) NOT NULL,
    media_type VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    width_px INTEGER,
    height_px INTEGER,
    sha256 VARCHAR(64),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT fk_assets_workspace_id_product_id
        FOREIGN KEY(workspace_id, product_id) REFERENCES products (workspace_id, id),
    CONSTRAINT fk_assets_workspace_id_workspaces
        FOREIGN KEY (workspace_id) REFERENCES workspaces (id),
    CONSTRAINT ck_assets_size CHECK (size_bytes > 0),
    CONSTRAINT ck_assets_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT uq_assets_storage_key UNIQUE (storage_key),
    CONSTRAINT uq_assets_workspace_id_id UNIQUE (workspace_id, id)
);
CREATE INDEX ix_assets_workspace_id_product_id ON assets (workspace_id, product_id);
"""

_JOBS_TABLES = """
CREATE TYPE job_status AS ENUM ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED');

CREATE TABLE generation_jobs (
    id UUID DEFAULT gen_random_uuid() CONSTRAINT pk_generation_jobs PRIMARY KEY,
    task_id VARCHAR(255) DEFAULT (gen_random_uuid())::text NOT NULL,
    workspace_id VARCHAR(64) NOT NULL,
    user_id VARCHAR(64),
    product_id VARCHAR(64),
    source_asset_id UUID,
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
    CONSTRAINT fk_generation_jobs_workspace_id_user_id
        FOREIGN KEY(workspace_id, user_id) REFERENCES users (workspace_id, id),
    CONSTRAINT fk_generation_jobs_workspace_id_product_id
        FOREIGN KEY(workspace_id, product_id) REFERENCES products (workspace_id, id),
    CONSTRAINT fk_generation_jobs_workspace_id_source_asset_id_assets
        FOREIGN KEY (workspace_id, source_asset_id) REFERENCES assets (workspace_id, id),
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
CREATE INDEX ix_generation_jobs_finished_at ON generation_jobs (finished_at)
    WHERE finished_at IS NOT NULL;
CREATE INDEX ix_generation_jobs_leases ON generation_jobs (lease_until) WHERE status = 'PROCESSING';
CREATE INDEX ix_generation_jobs_newest ON generation_jobs (workspace_id, created_at DESC, id DESC);
CREATE INDEX ix_generation_jobs_open ON generation_jobs (workspace_id)
    WHERE status IN ('PENDING', 'PROCESSING');
CREATE INDEX ix_generation_jobs_source_asset_id ON generation_jobs (source_asset_id)
    WHERE source_asset_id IS NOT NULL;
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
    provider VARCHAR(64),
    model VARCHAR(255),
    provider_request_id VARCHAR(255),
    units JSONB,
    price_microdollars BIGINT CONSTRAINT ck_generation_attempts_price
        CHECK (price_microdollars >= 0),
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
    id UUID CONSTRAINT pk_images PRIMARY KEY,
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
    model VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT uq_images_job_id_position UNIQUE (job_id, position),
    CONSTRAINT ck_images_position CHECK (position >= 0),
    CONSTRAINT ck_images_size CHECK (width_px > 0 AND height_px > 0 AND size_bytes > 0),
    CONSTRAINT ck_images_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT fk_images_job_id
        FOREIGN KEY(job_id) REFERENCES generation_jobs (id) ON DELETE CASCADE
);

CREATE TABLE previews (
    id UUID NOT NULL CONSTRAINT uq_previews_id UNIQUE,
    job_id UUID NOT NULL
        CONSTRAINT fk_previews_job_id REFERENCES generation_jobs (id) ON DELETE CASCADE,
    position SMALLINT NOT NULL CONSTRAINT ck_previews_position CHECK (position >= 0),
    token BIGINT NOT NULL,
    number INTEGER NOT NULL DEFAULT 1 CONSTRAINT ck_previews_number CHECK (number >= 1),
    storage_key VARCHAR(255) NOT NULL,
    media_type VARCHAR(64) NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT pk_previews PRIMARY KEY (job_id, position),
    CONSTRAINT ck_previews_size CHECK (width_px > 0 AND height_px > 0)
);
"""

_KEY_TABLES = """
CREATE TABLE api_keys (
    id VARCHAR(64) CONSTRAINT pk_api_keys PRIMARY KEY,
    workspace_id VARCHAR(64) NOT NULL,
    name VARCHAR(255) NOT NULL,
    key_sha256 VARCHAR(64) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT uq_api_keys_key_sha256 UNIQUE (key_sha256),
    CONSTRAINT ck_api_keys_key_sha256 CHECK (key_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT fk_api_keys_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);
CREATE INDEX ix_api_keys_workspace_id ON api_keys (workspace_id);

CREATE TABLE idempotency_keys (
    workspace_id VARCHAR(64) NOT NULL,
    key VARCHAR(255) NOT NULL,
    request_sha256 VARCHAR(64) NOT NULL,
    job_id UUID NOT NULL CONSTRAINT fk_idempotency_keys_job_id
        REFERENCES generation_jobs (id) ON DELETE CASCADE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (workspace_id, key)
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
CREATE INDEX ix_idempotency_keys_job_id ON idempotency_keys (job_id);
"""

_DEFAULT_WORKSPACE = "INSERT INTO workspaces (id, name) VALUES ('default', 'Default')"


def upgrade() -> None:
    """Bring the schema to this revision."""
    for statements in (_SHOP_TABLES, _JOBS_TABLES, _LEDGER_TABLES, _KEY_TABLES, _DEFAULT_WORKSPACE):
        op.execute(statements)


def downgrade() -> None:
    """Drop everything."""
    op.execute("DROP TABLE idempotency_keys, api_keys")
    op.execute("DROP TABLE previews, images, generation_attempts, generation_jobs")
    op.execute("DROP TABLE assets, products, users, workspaces")
    op.execute("DROP TYPE job_status")
