"""A database that has been used for long: many ended and many waiting jobs of many workspaces."""

from typing import Any

from tests.support.wait import wait_until

WORKSPACES = 20
"""`w0` has half of all jobs."""

_WORKSPACE = "'w' || CASE WHEN mod(n, 2) = 0 THEN 0 ELSE mod(n / 2, %(workspaces)s) END"

_SHOP = """
INSERT INTO workspaces (id, name)
    SELECT 'w' || n, 'x' FROM generate_series(0, %(workspaces)s - 1) n;
INSERT INTO products (id, workspace_id, name)
    SELECT 'p-w' || n, 'w' || n, 'x' FROM generate_series(0, %(workspaces)s - 1) n;
INSERT INTO api_keys (id, workspace_id, name, key_sha256)
    SELECT 'k' || n, 'w' || n, 'x', repeat('0', 62) || to_char(n, 'FM00')
    FROM generate_series(0, %(workspaces)s - 1) n;
INSERT INTO workers (owner, runtime, slots, version, expires_at)
    VALUES ('host:1', 'celery', 10, '0', now() + interval '1 day');
INSERT INTO webhooks (workspace_id, url, events, secret)
    VALUES ('w1', 'http://shop/', '{generation.failed}', 'x'), ('w2', NULL, '{}', 'x');
INSERT INTO workspace_limits (workspace_id, submissions_per_minute) VALUES ('w3', 1000000);
INSERT INTO workspace_costs SELECT 'w' || n, current_date - day, 1
    FROM generate_series(0, %(workspaces)s - 1) n, generate_series(0, 60) day
"""

# One in a thousand has failed, the last of them long ago: filters are of use only if rows are rare.
_ENDED = f"""
INSERT INTO generation_jobs (task_id, workspace_id, product_id, user_id, params, status, progress,
    message, result, error, attempt, lease_token, created_at, started_at, finished_at, announced_at,
    retry_of)
SELECT 'ended-' || n, {_WORKSPACE},
    CASE WHEN mod(n, 10) < 2 THEN 'p-' || {_WORKSPACE} END,
    CASE WHEN mod(n, 1000) = 4 THEN 'u-w0' END,
    jsonb_build_object('prompt', repeat('a red mug ', 20), 'n', 1, 'metadata',
        CASE WHEN mod(n, 10) < 3 THEN jsonb_build_object('order', n::text) ELSE '{{}}' END),
    CASE WHEN is_failed THEN 'FAILED' ELSE 'COMPLETED' END::job_status, 100, 'Completed',
    CASE WHEN NOT is_failed THEN '{{"images": [], "missing": 0}}'::jsonb END,
    CASE WHEN is_failed THEN jsonb_build_object('code', 'worker_lost', 'message', 'x',
        'retryable', true, 'attempt', 1) END, 1, 1,
    since, since, since + interval '10 seconds', since + interval '11 seconds',
    CASE WHEN mod(n, 500) = 0 THEN gen_random_uuid() END
FROM (
    SELECT n, mod(n, 1000) < 2 AND n > %(ended)s / 2 AS is_failed,
        now() - interval '1 hour' - n * interval '20 days' / %(ended)s AS since
    FROM generate_series(1, %(ended)s) n
) job
"""

_ROWS_OF_ENDED = """
INSERT INTO generation_attempts
    (job_id, number, token, runtime, started_at, finished_at, outcome, charge_state, provider,
    model, price_microdollars)
SELECT id, 1, 1, 'celery', started_at, finished_at,
    CASE WHEN status = 'FAILED' THEN 'failed' ELSE 'completed' END, 'charged', 'mock', 'm', 1
FROM generation_jobs WHERE finished_at IS NOT NULL;
INSERT INTO images (id, job_id, position, url, storage_key, media_type, width_px, height_px,
    size_bytes, sha256, seed, provider, model)
SELECT gen_random_uuid(), id, 0, '/v1/images/x', id || '/1/0', 'image/png', 1, 1, 1,
    repeat('0', 64), 1, 'mock', 'm'
FROM generation_jobs WHERE status = 'COMPLETED';
INSERT INTO idempotency_keys (workspace_id, key, request_sha256, job_id, created_at)
SELECT workspace_id, task_id, 'x', id, created_at FROM generation_jobs
WHERE finished_at IS NOT NULL ORDER BY created_at DESC LIMIT %(ended)s / 10
"""

_WAITING = f"""
INSERT INTO generation_jobs (task_id, workspace_id, params, attempt, priority, created_at,
    next_attempt_at, start_by)
SELECT 'waiting-' || n, {_WORKSPACE}, '{{"prompt": "a mug", "n": 1}}',
    CASE WHEN mod(n, 50) < 2 THEN 1 ELSE 0 END, mod(n, 3) - 1, now() - n * interval '1 millisecond',
    CASE mod(n, 50) WHEN 0 THEN now() - interval '1 minute' WHEN 1 THEN now() + interval '1 hour'
        END,
    CASE WHEN n < 20 THEN now() - interval '1 minute' END
FROM generate_series(1, %(waiting)s) n
"""

_OPEN = f"""
INSERT INTO generation_jobs (task_id, workspace_id, params, dispatched_at, dispatches, released_to,
    envelope_id, created_at)
SELECT 'released-' || n, {_WORKSPACE}, '{{"prompt": "a mug", "n": 1}}',
    now() - n * interval '1 second', 1, 'celery', 'envelope-' || n, now() - interval '1 day'
FROM generate_series(1, 8) n;
INSERT INTO generation_jobs (task_id, workspace_id, params, status, attempt, lease_token,
    lease_owner, lease_until, time_limit_at, started_at, released_to, dispatched_at, created_at)
SELECT 'running-' || n, {_WORKSPACE}, '{{"prompt": "a mug", "n": 1}}', 'PROCESSING', 1, 1,
    'host:' || n, now() + CASE WHEN n <= 2 THEN interval '-5 minutes' ELSE interval '1 day' END,
    now() + interval '2 days', now(), 'celery', now(), now() - interval '1 day'
FROM generate_series(1, 8) n;
INSERT INTO generation_attempts (job_id, number, token, runtime, provider)
SELECT id, 1, 1, 'celery', 'mock' FROM generation_jobs WHERE status = 'PROCESSING';
INSERT INTO previews (id, job_id, position, token, storage_key, media_type, width_px, height_px)
SELECT gen_random_uuid(), id, 0, 1, 'x', 'image/png', 1, 1 FROM generation_jobs
WHERE status = 'PROCESSING';
UPDATE generation_jobs SET announced_at = NULL WHERE task_id IN (
    SELECT 'ended-' || n FROM generate_series(1, 20) n);
INSERT INTO webhook_deliveries (webhook_id, job_id, receiver, event, job, next_try_at, tries)
SELECT webhooks.id, job.id, webhooks.id, 'generation.failed', '{{}}',
    job.created_at, 0
FROM webhooks, generation_jobs job, generate_series(1, 2) n
WHERE webhooks.workspace_id = 'w1' AND job.task_id LIKE 'waiting-%%';
INSERT INTO webhook_deliveries (webhook_id, job_id, receiver, event, job, next_try_at, created_at)
SELECT webhooks.id, job.id, webhooks.id, 'generation.failed', '{{}}', NULL, job.created_at
FROM webhooks, generation_jobs job WHERE webhooks.workspace_id = 'w1' AND job.status = 'FAILED';
INSERT INTO rejected_envelopes (runtime, code, reason, body)
SELECT 'celery', 'x', 'x', repeat('x', 4000) FROM generate_series(1, 1000);
INSERT INTO audit (who, action, target, details, at)
SELECT 'cli x', 'pause', 'workspace w0', '{{}}', now() - n * interval '1 hour'
FROM generate_series(1, 10000) n;
INSERT INTO assets (id, workspace_id, storage_key, media_type, size_bytes)
SELECT gen_random_uuid(), 'w0', 'assets/' || n, 'image/png', 1 FROM generate_series(1, 100) n
"""


def fill(cursor: Any, ended: int, waiting: int) -> None:
    """Write so many ended and waiting jobs, and everything that comes with them, and analyse."""
    sizes = {"ended": ended, "waiting": waiting, "workspaces": WORKSPACES}
    # Without the checks of foreign keys, which take most of the time.
    cursor.execute("SET session_replication_role = replica; SET synchronous_commit = off")
    for statements in (_SHOP, _ENDED, _ROWS_OF_ENDED, _WAITING, _OPEN):
        cursor.execute(statements, sizes)
    cursor.execute("SET session_replication_role = DEFAULT")
    vacuum(cursor)


def vacuum(cursor: Any) -> None:
    """Vacuum until an index alone says what is visible: not while autovacuum has a snapshot."""
    unseen = (
        "SELECT FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid"
        " WHERE relallvisible < relpages - 10"
    )

    def is_done() -> bool:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute(unseen)
        return bool(cursor.rowcount == 0)

    wait_until(is_done, 60, "nearly all pages are visible to all")


def live_on(cursor: Any, jobs: int) -> None:
    """Let so many waiting jobs have been run to their ends in the last three hours."""
    for change in (
        "dispatched_at = since, dispatches = 1, released_to = 'celery'",
        "status = 'PROCESSING', attempt = attempt + 1, lease_token = lease_token + 1,"
        " lease_owner = 'host:1', lease_until = since + interval '1 minute',"
        " time_limit_at = since + interval '5 minutes', started_at = since, next_attempt_at = NULL",
        "status = 'COMPLETED', progress = 100, result = '{}', lease_until = NULL,"
        " finished_at = since + interval '10 seconds', lease_owner = NULL, time_limit_at = NULL",
        "announced_at = since + interval '10 seconds'",
    ):
        cursor.execute(
            f"UPDATE generation_jobs job SET {change} FROM (SELECT 'waiting-' || 2 * n AS task_id,"
            " now() - n * interval '3 hours' / %(jobs)s AS since"
            " FROM generate_series(11, 10 + %(jobs)s) n) run WHERE job.task_id = run.task_id",
            {"jobs": jobs},
        )
