-- Reads the limits of a workspace, or of all that have some of their own (NULL) or are paused; or
-- only of those that are paused.
SELECT workspace_id, open_jobs, running_jobs, submissions_per_minute, cost_per_day, cost_per_month,
    models, paused_at
FROM workspace_limits
WHERE (workspace_id = %(workspace_id)s OR %(workspace_id)s IS NULL AND coalesce(
    open_jobs::text, running_jobs::text, submissions_per_minute::text, cost_per_day::text,
    cost_per_month::text, models::text, paused_at::text
) IS NOT NULL)
    AND (paused_at IS NOT NULL OR NOT %(is_paused)s)
ORDER BY workspace_id LIMIT %(limit)s
