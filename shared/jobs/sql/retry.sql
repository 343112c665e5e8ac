-- Lets a job wait for its next attempt, with the line of its ledger; a cancelled job is refused.
-- Returns when it is due; no row: refused, or the token is outdated. Repeated, it changes nothing
-- and returns the same. It waits in its row, without an envelope, until it is due, and
-- goes on with another model if one is named.
WITH ended AS (
    UPDATE generation_jobs SET
        status = 'PENDING', progress = %(progress)s, message = %(message)s,
        error = %(error)s, next_attempt_at = now() + make_interval(secs => %(delay)s),
        dispatched_at = NULL, dispatches = 0,
        provider = coalesce(%(next_provider)s, provider), model = coalesce(%(next_model)s, model),
        lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
    WHERE id = %(id)s AND lease_token = %(token)s AND lease_until IS NOT NULL
        AND cancel_requested_at IS NULL
    RETURNING next_attempt_at
), closed AS (
    UPDATE generation_attempts SET
        finished_at = now(), outcome = 'failed', error = %(error)s,
        charge_state = %(charge_state)s, provider_request_id = %(request_id)s,
        units = %(units)s, price_microdollars = %(price_microdollars)s
    WHERE job_id = %(id)s AND token = %(token)s AND EXISTS (SELECT FROM ended)
)
SELECT next_attempt_at FROM ended
UNION ALL
SELECT next_attempt_at FROM generation_jobs
WHERE id = %(id)s AND lease_token = %(token)s AND status = 'PENDING'
