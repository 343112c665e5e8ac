-- Makes a workspace that does not exist yet.
INSERT INTO workspaces (id, name) VALUES (%(workspace_id)s, %(workspace_id)s)
ON CONFLICT (id) DO NOTHING
