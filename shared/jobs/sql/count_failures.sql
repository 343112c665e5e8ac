-- Counts the jobs that have failed since a time, by any of code, provider, model and workspace, no
-- more than the newest `limit` (NULL: all); provider and model are those of the last attempt.
-- `message` and `job_id` are those of one of the newest.
SELECT CASE WHEN 'code' = ANY(%(by)s::text[]) THEN job.error->>'code' END AS code,
    CASE WHEN 'provider' = ANY(%(by)s::text[]) THEN line.provider END AS provider,
    CASE WHEN 'model' = ANY(%(by)s::text[]) THEN line.model END AS model,
    CASE WHEN 'workspace' = ANY(%(by)s::text[]) THEN workspace_id END AS workspace,
    count(*) AS jobs, max(job.finished_at) AS last_at,
    (array_agg(job.error->>'message' ORDER BY job.finished_at DESC))[1] AS message,
    (array_agg(job.id ORDER BY job.finished_at DESC))[1] AS job_id
FROM (
    SELECT id, workspace_id, attempt, error, finished_at FROM generation_jobs
    WHERE finished_at >= now() - make_interval(secs => %(seconds)s) AND status = 'FAILED'
    ORDER BY finished_at DESC LIMIT %(limit)s
) job LEFT JOIN generation_attempts line ON line.job_id = job.id AND line.number = job.attempt
GROUP BY 1, 2, 3, 4
ORDER BY jobs DESC, last_at DESC
