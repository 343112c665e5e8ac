-- Finds where the bytes of a preview of a running attempt are stored; with a workspace, only if
-- it belongs to it.
SELECT preview.storage_key, preview.media_type
FROM previews preview JOIN generation_jobs job ON job.id = preview.job_id
WHERE preview.id = %(id)s AND job.lease_until IS NOT NULL AND preview.token = job.lease_token
    AND (%(workspace_id)s IS NULL OR job.workspace_id = %(workspace_id)s)
