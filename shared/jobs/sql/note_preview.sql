-- Notes a preview in place of the one that its position had. No row: the token is outdated. An
-- attempt that is overtaken between the two conditions finds its successor's row, or leaves one
-- with a token that is never shown.
INSERT INTO previews AS known
    (id, job_id, position, token, storage_key, media_type, width_px, height_px)
SELECT %(preview_id)s, job.id, %(position)s, %(token)s, %(storage_key)s, %(media_type)s,
    %(width_px)s, %(height_px)s
FROM generation_jobs job
WHERE job.id = %(id)s AND job.lease_token = %(token)s AND job.lease_until IS NOT NULL
ON CONFLICT (job_id, position) DO UPDATE SET
    token = excluded.token, number = known.number + 1, storage_key = excluded.storage_key,
    media_type = excluded.media_type, width_px = excluded.width_px,
    height_px = excluded.height_px, created_at = now()
WHERE known.token <= excluded.token
RETURNING 1
