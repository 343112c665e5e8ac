-- Reads an asset; with a workspace, only one that belongs to it.
SELECT * FROM assets
WHERE id = %(id)s AND (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
