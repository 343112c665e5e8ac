-- Locks one job whose lease ran out, passing over those that another sweep has locked.
SELECT id, task_id, attempt, max_attempts, lease_token, progress,
    cancel_requested_at IS NOT NULL AS is_cancelled, lease_until >= time_limit_at AS at_limit
FROM generation_jobs
WHERE status = 'PROCESSING' AND lease_until < now()
ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED
