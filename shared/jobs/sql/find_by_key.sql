-- Finds the job that an idempotency key has made within `kept_seconds`.
SELECT kept.request_sha256, job.*
FROM idempotency_keys kept JOIN generation_jobs job ON job.id = kept.job_id
WHERE kept.workspace_id = %(workspace_id)s AND kept.key = %(key)s
    AND kept.created_at >= now() - make_interval(secs => %(kept_seconds)s)
