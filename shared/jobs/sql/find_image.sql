-- Finds where the bytes of an image are stored; with a workspace, only if it belongs to it.
SELECT image.job_id::text, position, image.storage_key, image.media_type, image.sha256
FROM images image JOIN generation_jobs job ON job.id = image.job_id
WHERE image.id = %(id)s
    AND (%(workspace_id)s IS NULL OR job.workspace_id = %(workspace_id)s)
