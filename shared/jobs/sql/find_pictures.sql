-- Finds where pictures of a job are stored, of its own workspace alone. Only their rows know: the
-- shop may have written them.
SELECT asset.id, asset.storage_key
FROM generation_jobs job JOIN assets asset USING (workspace_id)
WHERE job.id = %(id)s AND asset.id = ANY(%(ids)s::uuid[])
