-- Completes a job from its saved images: one that lost its worker, or waits for another attempt.
-- Its row, the line of its ledger and the rows of its images, all or nothing; fences the attempt
-- off. No row: the job has changed since it was found, or is locked.
WITH found AS (
    SELECT id FROM generation_jobs
    WHERE id = %(id)s AND lease_token = %(token)s
        AND (status = 'PENDING' AND attempt > 0
            OR status = 'PROCESSING' AND (lease_until < now() OR lease_owner = %(owner)s))
    FOR UPDATE SKIP LOCKED
), closed AS (
    UPDATE generation_attempts SET finished_at = now(), outcome = 'lost', error = %(error)s
    WHERE job_id IN (SELECT id FROM found) AND finished_at IS NULL
), kept AS (
    INSERT INTO images (id, job_id, position, url, storage_key, media_type, width_px,
        height_px, size_bytes, sha256, seed, provider, model)
    SELECT id, %(id)s, position, url, storage_key, media_type, width_px, height_px,
        size_bytes, sha256, seed, provider, model
    FROM jsonb_to_recordset(%(images)s) AS image (id uuid, position int, url text,
        storage_key text, media_type text, width_px int, height_px int, size_bytes bigint,
        sha256 text, seed bigint, provider text, model text)
    WHERE EXISTS (SELECT FROM found)
)
UPDATE generation_jobs SET
    status = 'COMPLETED', progress = %(progress)s, message = %(message)s, result = %(result)s,
    error = NULL, finished_at = now(), next_attempt_at = NULL,
    dispatched_at = NULL, dispatches = 0, lease_token = lease_token + 1,
    lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
WHERE id IN (SELECT id FROM found)
RETURNING *
