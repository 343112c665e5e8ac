-- Inserts an API key as its hash; its workspace must exist.
INSERT INTO api_keys (id, workspace_id, name, key_sha256, scopes)
VALUES (%(id)s, %(workspace_id)s, %(name)s, %(key_sha256)s, %(scopes)s)
RETURNING id, workspace_id, name, scopes, created_at, revoked_at
