-- Reads running jobs, those first whose attempts have run longest.
SELECT job.id AS job_id, workspace_id, coalesce(line.provider, job.provider) AS provider,
    job.attempt, max_attempts, progress, lease_owner AS worker,
    cancel_requested_at IS NOT NULL AS is_cancelled,
    extract(epoch FROM now() - line.started_at)::int AS seconds
FROM generation_jobs job JOIN generation_attempts line
    ON line.job_id = job.id AND line.number = job.attempt
WHERE status = 'PROCESSING'
ORDER BY time_limit_at LIMIT %(limit)s
