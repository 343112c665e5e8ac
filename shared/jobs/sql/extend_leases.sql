-- Extends the leases of a process, up to the time limit of each attempt, and shows where each job
-- stands. Returns those that are still held. A lease ends at the limit exactly if it was extended in
-- the last `last_seconds` before: what dies earlier has not reached its limit. Only a running job
-- has a `lease_until` (see complete.sql).
UPDATE generation_jobs job SET
    lease_until = CASE
        WHEN now() >= time_limit_at - make_interval(secs => %(last_seconds)s) THEN time_limit_at
        ELSE least(
            now() + make_interval(secs => %(lease_seconds)s),
            time_limit_at - interval '1 millisecond'
        )
    END,
    progress = kept.progress, message = kept.message
FROM jsonb_to_recordset(%(kept)s)
    AS kept (id uuid, token bigint, progress int, message text)
WHERE job.id = kept.id AND job.lease_token = kept.token AND job.lease_until IS NOT NULL
RETURNING job.id, job.lease_token, job.cancel_requested_at IS NOT NULL AS is_cancelled
