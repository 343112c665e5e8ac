-- Inserts a waiting job within its workspace's limit (NULL: none), once for its idempotency key
-- (NULL: none). No row: the limit is reached, or the key was used within `kept_seconds`. The limit
-- is exact only under `lock_workspace`. Of two requests with one key, the second waits here for the
-- first one's commit. The envelope counts as dispatched: most sends succeed, and the sweep
-- repeats the others after the grace period.
WITH room AS (
    SELECT WHERE %(open_limit)s::int IS NULL OR (
        SELECT count(*) FROM (
            SELECT FROM generation_jobs
            WHERE workspace_id = %(workspace_id)s AND status IN ('PENDING', 'PROCESSING')
            LIMIT %(open_limit)s
        ) open
    ) < %(open_limit)s
), claimed AS (
    INSERT INTO idempotency_keys AS kept (workspace_id, key, request_sha256, job_id)
    SELECT %(workspace_id)s, %(key)s, %(request_sha256)s, %(id)s FROM room
    WHERE %(key)s::text IS NOT NULL
    ON CONFLICT (workspace_id, key) DO UPDATE SET
        request_sha256 = excluded.request_sha256, job_id = excluded.job_id, created_at = now()
    WHERE kept.created_at < now() - make_interval(secs => %(kept_seconds)s)
    RETURNING 1
)
INSERT INTO generation_jobs (
    id, task_id, workspace_id, user_id, product_id, source_asset_id, params, max_attempts,
    message, dispatched_at, dispatches
)
SELECT %(id)s, %(task_id)s, %(workspace_id)s, %(user_id)s, %(product_id)s,
    %(source_asset_id)s::uuid, %(params)s::jsonb, %(max_attempts)s, %(message)s, now(), 1
FROM room
WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
RETURNING *
