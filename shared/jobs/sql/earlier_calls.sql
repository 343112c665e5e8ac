-- Sums up what the attempts before one have cost; their lines of the ledger are closed. A purchase
-- that the provider has named is not in doubt: it is asked for again.
WITH bought AS (
    SELECT number, entry.id, entry.bought,
        bought ->> 'request_id' IS NOT NULL AS is_named,
        bought ->> 'charge_state' IS NULL AS is_unknown,
        bought ->> 'is_closed' IS NULL AND provider = (SELECT provider FROM generation_jobs WHERE id = %(id)s) AS is_open
    FROM generation_attempts, jsonb_each(purchases) AS entry (id, bought)
    WHERE job_id = %(id)s AND number < %(attempt)s
)
SELECT count(*) FILTER (WHERE charge_state = 'unknown' AND (
        purchases IS NULL
        OR EXISTS (SELECT FROM bought
            WHERE bought.number = line.number AND is_unknown AND NOT is_named)
    )) AS unknown_calls,
    coalesce(sum(price_microdollars), 0)::bigint + (
        SELECT coalesce(sum((bought ->> 'price')::bigint), 0)::bigint FROM bought
        WHERE is_unknown AND is_named
    ) AS spent,
    coalesce(max(number) FILTER (WHERE charge_state <> 'unknown'), 0) AS last_known,
    coalesce(bool_or(charge_state <> 'none'), false) AS is_billed,
    (SELECT jsonb_object_agg(id, bought) FROM bought WHERE is_named AND is_open) AS purchases
FROM generation_attempts line
WHERE job_id = %(id)s AND number < %(attempt)s
