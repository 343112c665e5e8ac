-- Notes, before the request is sent, that an image is about to be bought: what becomes of it is
-- `unknown` from now on. No row: the token is outdated. Repeated, it changes nothing.
UPDATE generation_attempts line SET
    charge_state = 'unknown',
    purchases = coalesce(purchases, '{}')
        || jsonb_build_object(%(purchase)s::text, jsonb_build_object('position', %(position)s::int))
FROM generation_jobs job
WHERE line.job_id = %(id)s AND line.token = %(token)s AND line.finished_at IS NULL
    AND job.id = line.job_id AND job.lease_token = line.token AND job.status = 'PROCESSING'
RETURNING 1
