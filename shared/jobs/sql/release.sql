-- Undoes a claim whose provider was not called: the attempt does not count. No row: the token is
-- outdated, or the job was cancelled.
WITH released AS (
    UPDATE generation_jobs SET
        status = 'PENDING', progress = %(progress)s, message = %(message)s,
        attempt = attempt - 1, dispatched_at = NULL,
        started_at = CASE WHEN attempt > 1 THEN started_at END,
        lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
    WHERE id = %(id)s AND lease_token = %(token)s AND lease_until IS NOT NULL
        AND cancel_requested_at IS NULL
    RETURNING id
)
DELETE FROM generation_attempts
WHERE job_id = %(id)s AND token = %(token)s AND EXISTS (SELECT FROM released)
RETURNING 1
