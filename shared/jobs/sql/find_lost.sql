-- Finds jobs that lost their worker, the longest lost first: those whose lease ran out, or with an
-- `owner` the job of that dead process. Passes over those that are locked.
SELECT id, task_id, params, attempt, max_attempts, lease_token, progress,
    cancel_requested_at IS NOT NULL AS is_cancelled, lease_until >= time_limit_at AS at_limit
FROM generation_jobs
WHERE status = 'PROCESSING' AND CASE WHEN %(owner)s::text IS NULL THEN lease_until < now()
    ELSE id = %(id)s::uuid AND lease_owner = %(owner)s END
ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED
