-- Extends the leases of a process, up to the time limit of each attempt, and shows where each job
-- stands. Returns those that are still held.
UPDATE generation_jobs job SET
    lease_until = least(now() + make_interval(secs => %(lease_seconds)s), time_limit_at),
    progress = kept.progress, message = kept.message
FROM jsonb_to_recordset(%(kept)s)
    AS kept (id uuid, token bigint, progress int, message text)
WHERE job.id = kept.id AND job.lease_token = kept.token AND job.status = 'PROCESSING'
RETURNING job.id, job.lease_token, job.cancel_requested_at IS NOT NULL AS is_cancelled
