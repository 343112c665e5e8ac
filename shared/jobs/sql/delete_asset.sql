-- Deletes an asset of a workspace. Jobs that have ended forget it; one that has not keeps it, by
-- the foreign key.
WITH forgotten AS (
    UPDATE generation_jobs SET source_asset_id = NULL
    WHERE source_asset_id = %(id)s AND workspace_id = %(workspace_id)s
        AND finished_at IS NOT NULL
    RETURNING 1
)
DELETE FROM assets WHERE id = %(id)s AND workspace_id = %(workspace_id)s
    AND (SELECT count(*) FROM forgotten) >= 0
RETURNING 1
