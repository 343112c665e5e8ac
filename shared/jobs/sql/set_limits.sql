-- Changes some limits of a workspace and returns all of them.
INSERT INTO workspace_limits AS known
    (workspace_id, open_jobs, running_jobs, submissions_per_minute, cost_per_day,
        cost_per_month, models)
VALUES
    (%(workspace_id)s, %(open_jobs)s, %(running_jobs)s, %(submissions_per_minute)s,
        %(cost_per_day)s, %(cost_per_month)s, %(models)s::varchar[])
ON CONFLICT (workspace_id) DO UPDATE SET
    open_jobs = CASE WHEN %(changes_open_jobs)s
        THEN excluded.open_jobs ELSE known.open_jobs END,
    running_jobs = CASE WHEN %(changes_running_jobs)s
        THEN excluded.running_jobs ELSE known.running_jobs END,
    submissions_per_minute = CASE WHEN %(changes_submissions_per_minute)s
        THEN excluded.submissions_per_minute ELSE known.submissions_per_minute END,
    cost_per_day = CASE WHEN %(changes_cost_per_day)s
        THEN excluded.cost_per_day ELSE known.cost_per_day END,
    cost_per_month = CASE WHEN %(changes_cost_per_month)s
        THEN excluded.cost_per_month ELSE known.cost_per_month END,
    models = CASE WHEN %(changes_models)s THEN excluded.models ELSE known.models END
RETURNING workspace_id, open_jobs, running_jobs, submissions_per_minute, cost_per_day,
    cost_per_month, models, paused_at
