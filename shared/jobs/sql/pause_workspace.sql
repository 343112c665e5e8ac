-- Pauses a workspace, and returns its limits; one that is paused keeps the time of its pause.
INSERT INTO workspace_limits AS known (workspace_id, paused_at) VALUES (%(workspace_id)s, now())
ON CONFLICT (workspace_id) DO UPDATE SET paused_at = coalesce(known.paused_at, now())
RETURNING workspace_id, open_jobs, running_jobs, submissions_per_minute, cost_per_day,
    cost_per_month, models, paused_at
