-- Counts the open jobs as `show_queue` does, by any of workspace and provider. A job that names no
-- model is for the default provider.
SELECT CASE WHEN 'workspace' = ANY(%(by)s::text[]) THEN workspace_id END AS workspace_id,
    CASE WHEN 'provider' = ANY(%(by)s::text[]) THEN called END AS provider,
    (count(*) FILTER (WHERE is_waiting AND is_due AND NOT is_paused))::int AS due,
    (count(*) FILTER (WHERE is_waiting AND NOT (is_due AND NOT is_paused)))::int AS delayed,
    (count(*) FILTER (WHERE status = 'PENDING' AND NOT is_waiting))::int AS released,
    (count(*) FILTER (WHERE status = 'PROCESSING'))::int AS running,
    extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 'PENDING'))::int
        AS oldest_waiting_seconds,
    bool_or('workspace' = ANY(%(by)s::text[]) AND workspace_is_paused
        OR 'provider' = ANY(%(by)s::text[]) AND provider_is_paused) AS is_paused
FROM (
    SELECT workspace_id, status, created_at, coalesce(job.provider, %(provider)s) AS called,
        status = 'PENDING' AND dispatched_at IS NULL AS is_waiting,
        next_attempt_at IS NULL OR next_attempt_at <= now() AS is_due,
        limits.paused_at IS NOT NULL AS workspace_is_paused,
        paused.provider IS NOT NULL AS provider_is_paused,
        limits.paused_at IS NOT NULL OR paused.provider IS NOT NULL AS is_paused
    FROM generation_jobs job LEFT JOIN workspace_limits limits USING (workspace_id)
        LEFT JOIN held_providers paused
            ON paused.provider = coalesce(job.provider, %(provider)s)
    WHERE status IN ('PENDING', 'PROCESSING')
) open
GROUP BY 1, 2
ORDER BY count(*) DESC, 1, 2
