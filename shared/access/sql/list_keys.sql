-- Reads all API keys, or those of a workspace, the oldest first.
SELECT id, workspace_id, name, scopes, created_at, revoked_at FROM api_keys
WHERE %(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s
ORDER BY created_at, id
