-- Reads the webhooks of a workspace, or of all (NULL), oldest first; with an id, only that one.
SELECT * FROM webhooks
WHERE (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
    AND (%(id)s::uuid IS NULL OR id = %(id)s)
ORDER BY created_at, id
