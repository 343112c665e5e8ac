-- Reads assets of a workspace, the newest first; a filter that is NULL lets every asset pass.
SELECT * FROM assets
WHERE workspace_id = %(workspace_id)s
    AND (%(product_id)s IS NULL OR product_id = %(product_id)s)
    AND (%(before_time)s::timestamptz IS NULL
        OR (created_at, id) < (%(before_time)s, %(before_id)s::uuid))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
