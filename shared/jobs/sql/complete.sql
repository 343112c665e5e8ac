-- Completes a job: its row, the line of its ledger and the rows of its images, all or nothing.
-- Returns the end; no row: the token is outdated. Repeated, it changes nothing and returns the
-- same. Only a running job has a `lease_until`: by its status the planner would look for it among
-- those that run, and visit all that have run since the oldest open transaction began.
WITH ended AS (
    UPDATE generation_jobs SET
        status = 'COMPLETED', progress = %(progress)s, message = %(message)s,
        result = %(result)s, error = NULL, finished_at = now(),
        lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
    WHERE id = %(id)s AND lease_token = %(token)s AND lease_until IS NOT NULL
    RETURNING finished_at
), closed AS (
    UPDATE generation_attempts SET
        finished_at = now(), outcome = 'completed', error = %(error)s,
        charge_state = %(charge_state)s, provider_request_id = %(request_id)s,
        units = %(units)s, price_microdollars = %(price_microdollars)s
    WHERE job_id = %(id)s AND token = %(token)s AND EXISTS (SELECT FROM ended)
), kept AS (
    INSERT INTO images (id, job_id, position, url, storage_key, media_type, width_px,
        height_px, size_bytes, sha256, seed, provider, model)
    SELECT id, %(id)s, position, url, storage_key, media_type, width_px, height_px,
        size_bytes, sha256, seed, provider, model
    FROM jsonb_to_recordset(%(images)s) AS image (id uuid, position int, url text,
        storage_key text, media_type text, width_px int, height_px int, size_bytes bigint,
        sha256 text, seed bigint, provider text, model text)
    WHERE EXISTS (SELECT FROM ended)
)
SELECT finished_at FROM ended
UNION ALL
SELECT finished_at FROM generation_jobs
WHERE id = %(id)s AND lease_token = %(token)s AND status = 'COMPLETED'
