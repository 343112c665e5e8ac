-- Reads a job; with a workspace, only one that belongs to it.
SELECT * FROM generation_jobs
WHERE id = %(id)s AND (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
