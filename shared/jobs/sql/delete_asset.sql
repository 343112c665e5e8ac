-- Deletes an asset of a workspace. Jobs that have ended let it go; one that has not keeps it, by the
-- foreign keys. Its id stays with those that have ended, before their other pictures: a retry is
-- refused, and shows no picture without it.
WITH forgotten AS (
    UPDATE generation_jobs SET source_asset_id = NULL,
        reference_asset_ids = source_asset_id || coalesce(reference_asset_ids, '{}')
    WHERE source_asset_id = %(id)s AND workspace_id = %(workspace_id)s
        AND finished_at IS NOT NULL
    RETURNING 1
), released AS (
    DELETE FROM job_assets used USING generation_jobs job
    WHERE used.asset_id = %(id)s AND used.workspace_id = %(workspace_id)s
        AND job.id = used.job_id AND job.finished_at IS NOT NULL
    RETURNING 1
)
DELETE FROM assets WHERE id = %(id)s AND workspace_id = %(workspace_id)s
    AND (SELECT count(*) FROM forgotten) + (SELECT count(*) FROM released) >= 0
RETURNING 1
