-- Inserts a waiting job within its workspace's limit (NULL: none), once for its idempotency key
-- (NULL: none). No row: the limit is reached, or the key was used within `kept_seconds`. The limit
-- is exact only under `lock_workspace`. Of two requests with one key, the second waits here for the
-- first one's commit. The job is released at once where the runtime has room and no other job
-- waits (exactly so under `lock_release`); otherwise it waits in its row.
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
), released AS (
    SELECT EXISTS (
        SELECT FROM release_room WHERE runtime = %(runtime)s AND free > 0
    ) AND NOT EXISTS (
        SELECT FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NULL
    ) AND NOT EXISTS (
        SELECT FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at <= now()
    ) AND NOT EXISTS (
        SELECT FROM paused_providers WHERE provider = %(provider)s
    ) AND NOT EXISTS (
        SELECT FROM workspace_limits WHERE workspace_id = %(workspace_id)s
            AND (paused_at IS NOT NULL OR running_jobs IS NOT NULL)
    ) AND %(running_limit)s::int IS NULL AS now
)
INSERT INTO generation_jobs (
    id, task_id, workspace_id, user_id, product_id, source_asset_id, params, max_attempts,
    message, dispatched_at, dispatches, released_to, envelope_id
)
SELECT %(id)s, %(task_id)s, %(workspace_id)s, %(user_id)s, %(product_id)s,
    %(source_asset_id)s::uuid, %(params)s::jsonb, %(max_attempts)s, %(message)s,
    CASE WHEN released.now THEN now() END, CASE WHEN released.now THEN 1 ELSE 0 END,
    CASE WHEN released.now THEN %(runtime)s END, CASE WHEN released.now THEN %(envelope_id)s END
FROM room CROSS JOIN released
WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
RETURNING *
