-- Reads webhooks, oldest first: of a workspace, with an id, or those that fail or are disabled; a
-- filter that is NULL lets all pass.
SELECT * FROM webhooks
WHERE (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
    AND (%(id)s::uuid IS NULL OR id = %(id)s)
    AND (%(is_failing)s IS NULL OR failing_since IS NOT NULL OR disabled_at IS NOT NULL)
ORDER BY created_at, id LIMIT %(limit)s
