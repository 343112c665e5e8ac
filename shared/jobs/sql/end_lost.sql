-- Fails a locked job that lost its worker, closes its attempt, and fences the attempt off.
WITH ended AS (
    UPDATE generation_jobs SET
        status = 'FAILED', progress = %(progress)s, message = %(message)s,
        error = %(error)s, finished_at = now(), lease_token = lease_token + 1,
        lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
    WHERE id = %(id)s
    RETURNING task_id, lease_token, finished_at
), closed AS (
    UPDATE generation_attempts SET finished_at = now(), outcome = 'lost', error = %(error)s
    WHERE job_id = %(id)s AND finished_at IS NULL
)
SELECT task_id, lease_token, finished_at FROM ended
