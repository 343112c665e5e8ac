-- Inserts an uploaded picture; its workspace and product must exist. No row: the workspace has as
-- many as it may. Uploads at one moment may exceed the limit by their number.
INSERT INTO assets (id, workspace_id, product_id, storage_key, media_type, size_bytes, width_px,
    height_px, sha256)
SELECT %(id)s::uuid, %(workspace_id)s, %(product_id)s, %(storage_key)s, %(media_type)s,
    %(size_bytes)s, %(width_px)s::integer, %(height_px)s::integer, %(sha256)s
WHERE %(limit)s::integer IS NULL
    OR (SELECT count(*) FROM assets WHERE workspace_id = %(workspace_id)s) < %(limit)s
RETURNING *
