-- Makes the workspace, user and product that a job names, if they do not exist yet.
WITH workspace AS (
    INSERT INTO workspaces (id, name) VALUES (%(workspace_id)s, %(workspace_id)s)
    ON CONFLICT (id) DO NOTHING
), owner AS (
    INSERT INTO users (workspace_id, id) SELECT %(workspace_id)s, %(user_id)s
    WHERE %(user_id)s IS NOT NULL
    ON CONFLICT (workspace_id, id) DO NOTHING
)
INSERT INTO products (workspace_id, id, name)
SELECT %(workspace_id)s, %(product_id)s, %(product_id)s WHERE %(product_id)s IS NOT NULL
ON CONFLICT (workspace_id, id) DO NOTHING
