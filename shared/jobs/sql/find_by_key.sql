-- Finds the job that an idempotency key has made within `kept_seconds`; for a first request
-- (`is_first`) only one that a retry has made. The columns of a job that was deleted are NULL;
-- it is found only if the key outlives it.
SELECT kept.request_sha256, kept.job_id AS kept_job_id, job.*
FROM idempotency_keys kept LEFT JOIN generation_jobs job ON job.id = kept.job_id
WHERE kept.workspace_id = %(workspace_id)s AND kept.key = %(key)s
    AND kept.created_at >= now() - make_interval(secs => %(kept_seconds)s)
    AND NOT (kept.is_first AND %(is_first)s)
    AND (%(outlives_job)s OR job.id IS NOT NULL)
