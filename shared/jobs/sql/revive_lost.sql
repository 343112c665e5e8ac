-- Lets a locked job that lost its worker wait for its next attempt, due now; closes the lost
-- attempt, and fences it off.
WITH revived AS (
    UPDATE generation_jobs SET
        status = 'PENDING', progress = %(progress)s, message = %(message)s,
        error = %(error)s, next_attempt_at = now(), dispatched_at = NULL, dispatches = 0,
        lease_token = lease_token + 1,
        lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
    WHERE id = %(id)s
)
UPDATE generation_attempts SET finished_at = now(), outcome = 'lost', error = %(error)s
WHERE job_id = %(id)s AND finished_at IS NULL
