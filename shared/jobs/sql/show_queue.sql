-- Counts the open jobs of each workspace: those that may start now, that wait for a retry or for
-- the end of a pause, that have an envelope, and that run; the most loaded workspace first. Each
-- kind is counted in an index of its own: most jobs have ended.
SELECT open.workspace_id,
    coalesce(sum(jobs) FILTER (WHERE is_due AND paused_at IS NULL), 0)::int AS due,
    coalesce(sum(jobs) FILTER (WHERE NOT is_due OR is_due AND paused_at IS NOT NULL), 0)::int
        AS delayed,
    coalesce(sum(jobs) FILTER (WHERE kind = 'released'), 0)::int AS released,
    coalesce(sum(jobs) FILTER (WHERE kind = 'running'), 0)::int AS running,
    extract(epoch FROM now() - min(oldest_at))::int AS oldest_waiting_seconds,
    bool_or(paused_at IS NOT NULL) AS is_paused
FROM (
    SELECT workspace_id, 'waiting' AS kind, true AS is_due, count(*) AS jobs,
        min(created_at) AS oldest_at
    FROM generation_jobs
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NULL
    GROUP BY workspace_id
    UNION ALL
    SELECT workspace_id, 'waiting', next_attempt_at <= now(), count(*), min(created_at)
    FROM generation_jobs
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NOT NULL
    GROUP BY workspace_id, next_attempt_at <= now()
    UNION ALL
    SELECT workspace_id, 'released', NULL, count(*), min(created_at)
    FROM generation_jobs
    WHERE status = 'PENDING' AND dispatched_at IS NOT NULL
    GROUP BY workspace_id
    UNION ALL
    SELECT workspace_id, 'running', NULL, count(*), NULL
    FROM generation_jobs
    WHERE status = 'PROCESSING'
    GROUP BY workspace_id
) open LEFT JOIN workspace_limits USING (workspace_id)
GROUP BY open.workspace_id
ORDER BY sum(jobs) DESC, open.workspace_id
