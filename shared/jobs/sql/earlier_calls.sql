-- Sums up what the attempts before one have cost; their lines of the ledger are closed.
SELECT count(*) FILTER (WHERE charge_state = 'unknown') AS unknown_calls,
    coalesce(sum(price_microdollars), 0)::bigint AS spent
FROM generation_attempts
WHERE job_id = %(id)s AND number < %(attempt)s
