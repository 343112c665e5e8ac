-- Inserts an uploaded picture; its workspace and product must exist.
INSERT INTO assets (id, workspace_id, product_id, storage_key, media_type, size_bytes, width_px,
    height_px, sha256)
VALUES (%(id)s, %(workspace_id)s, %(product_id)s, %(storage_key)s, %(media_type)s,
    %(size_bytes)s, %(width_px)s, %(height_px)s, %(sha256)s)
RETURNING *
