-- Notes what the provider calls a purchase, and where it is asked for it: also for an attempt that
-- was overtaken, as the image is bought. No row: the job is deleted.
UPDATE generation_attempts SET
    provider_request_id = %(request_id)s,
    purchases = jsonb_set(purchases, ARRAY[%(purchase)s], purchases -> %(purchase)s
        || jsonb_build_object('request_id', %(request_id)s::text, 'address', %(address)s::text,
            'price', %(price)s::bigint))
WHERE job_id = %(id)s AND jsonb_exists(purchases, %(purchase)s)
RETURNING 1
