-- Finds where the picture of an asset is stored. Only the row knows: the shop may have written it.
SELECT storage_key FROM assets WHERE id = %(asset_id)s
