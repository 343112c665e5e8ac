-- Locks a job that a dead process holds. No row: it held no lease.
SELECT id, task_id, attempt, max_attempts, lease_token, progress,
    cancel_requested_at IS NOT NULL AS is_cancelled, lease_until >= time_limit_at AS at_limit
FROM generation_jobs
WHERE id = %(id)s AND status = 'PROCESSING' AND lease_owner = %(owner)s
FOR UPDATE
