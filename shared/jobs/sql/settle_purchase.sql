-- Notes what a purchase has cost, whichever attempt it is of, and with it what is known of the
-- attempt's whole bill. Repeated, it changes nothing. Reads the line of the ledger alone, so that
-- of two at once the second sees what the first has noted.
UPDATE generation_attempts SET
    purchases = jsonb_set(purchases, ARRAY[%(purchase)s], purchases -> %(purchase)s || %(facts)s),
    (charge_state, units, price_microdollars) = (
        SELECT
            CASE WHEN bool_or(state = 'unknown') THEN 'unknown'
                WHEN bool_or(state = 'charged') THEN 'charged' ELSE 'none' END,
            CASE WHEN bool_or(state = 'charged') THEN jsonb_build_object(
                'images', count(*) FILTER (WHERE state = 'charged')) END,
            CASE WHEN bool_and(price IS NOT NULL) FILTER (WHERE state = 'charged')
                THEN sum(price) FILTER (WHERE state = 'charged') END
        FROM (
            SELECT coalesce(bought ->> 'charge_state', 'unknown') AS state,
                (bought ->> 'price')::bigint AS price
            FROM jsonb_each(jsonb_set(purchases, ARRAY[%(purchase)s],
                purchases -> %(purchase)s || %(facts)s)) AS entry (id, bought)
        ) AS entries
    )
WHERE job_id = %(id)s AND jsonb_exists(purchases, %(purchase)s)
