-- Notes what an overtaken attempt knows of its bill, in its closed line of the ledger. Returns a row
-- if its job still exists.
WITH noted AS (
    UPDATE generation_attempts SET
        charge_state = %(charge_state)s, provider_request_id = %(request_id)s,
        units = %(units)s, price_microdollars = %(price_microdollars)s
    WHERE job_id = %(id)s AND token = %(token)s AND outcome = 'lost' AND charge_state = 'unknown'
)
SELECT 1 FROM generation_jobs WHERE id = %(id)s
