-- Finds the API key with this hash, unless it is revoked.
SELECT id, name, workspace_id, scopes FROM api_keys
WHERE key_sha256 = %(key_sha256)s AND revoked_at IS NULL
