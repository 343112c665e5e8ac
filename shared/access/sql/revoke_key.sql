-- Revokes an API key. No row: there is none, or it was revoked before.
UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL
RETURNING 1
