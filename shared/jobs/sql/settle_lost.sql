-- Settles a job that lost its worker: it waits for its next attempt, due now, or has FAILED. Closes
-- the lost attempt, and fences it off. No row: the job has changed since it was found, or is locked.
WITH lost AS (
    SELECT id FROM generation_jobs
    WHERE id = %(id)s AND lease_token = %(token)s AND lease_until IS NOT NULL
        AND (cancel_requested_at IS NOT NULL) = %(is_cancelled)s
        AND (lease_until < now() OR lease_owner = %(owner)s)
    FOR UPDATE SKIP LOCKED
), closed AS (
    UPDATE generation_attempts SET finished_at = now(), outcome = 'lost', error = %(error)s
    WHERE job_id IN (SELECT id FROM lost) AND finished_at IS NULL
)
UPDATE generation_jobs SET
    status = %(status)s, progress = %(progress)s, message = %(message)s, error = %(error)s,
    finished_at = CASE WHEN %(status)s = 'FAILED' THEN now() END,
    next_attempt_at = CASE WHEN %(status)s = 'PENDING' THEN now() END,
    dispatched_at = NULL, dispatches = 0, lease_token = lease_token + 1,
    lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
WHERE id IN (SELECT id FROM lost)
RETURNING *
