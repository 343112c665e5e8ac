-- Fails a job, with the line of its ledger. Returns the end; no row: the token is outdated.
-- Repeated, it changes nothing and returns the same. Apart from `complete`, which waits while the
-- table of images is locked.
WITH ended AS (
    UPDATE generation_jobs SET
        status = 'FAILED', progress = %(progress)s, message = %(message)s,
        error = %(error)s, finished_at = now(), next_attempt_at = NULL,
        lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
    WHERE id = %(id)s AND lease_token = %(token)s AND lease_until IS NOT NULL
    RETURNING finished_at
), closed AS (
    UPDATE generation_attempts SET
        finished_at = now(), outcome = 'failed', error = %(error)s,
        charge_state = %(charge_state)s, provider_request_id = %(request_id)s,
        units = %(units)s, price_microdollars = %(price_microdollars)s
    WHERE job_id = %(id)s AND token = %(token)s AND EXISTS (SELECT FROM ended)
)
SELECT finished_at FROM ended
UNION ALL
SELECT finished_at FROM generation_jobs
WHERE id = %(id)s AND lease_token = %(token)s AND status = 'FAILED'
