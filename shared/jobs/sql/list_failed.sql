-- Reads jobs that have failed since a time and were not retried, the oldest first, behind another
-- one. Cancelled ones only if their code is asked for; a filter that is NULL lets all pass.
SELECT job.id, workspace_id, job.error->>'code' AS code, line.provider, job.finished_at,
    job.attempt, job.error->>'message' AS message
FROM generation_jobs job LEFT JOIN generation_attempts line
    ON line.job_id = job.id AND line.number = job.attempt
WHERE job.finished_at >= now() - make_interval(secs => %(seconds)s) AND status = 'FAILED'
    AND job.error->>'code' IS DISTINCT FROM CASE WHEN %(code)s IS NULL THEN 'cancelled' END
    AND (%(code)s IS NULL OR job.error->>'code' = %(code)s)
    AND (%(provider)s IS NULL OR line.provider = %(provider)s)
    AND (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
    AND NOT EXISTS (SELECT FROM generation_jobs again WHERE again.retry_of = job.id)
    AND (%(after_time)s::timestamptz IS NULL
        OR (job.finished_at, job.id) > (%(after_time)s, %(after_id)s::uuid))
ORDER BY job.finished_at, job.id LIMIT %(limit)s
