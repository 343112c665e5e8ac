-- Finds the API key with this hash, unless it is revoked.
SELECT workspace_id FROM api_keys WHERE key_sha256 = %(key_sha256)s AND revoked_at IS NULL
