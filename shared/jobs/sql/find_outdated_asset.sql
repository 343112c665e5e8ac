-- Finds the oldest uploaded picture, of more than `seconds`, that no job names; with `after`, the
-- next one behind it. A row that the shop wrote by itself has no hash, and stays.
SELECT * FROM assets
WHERE created_at < now() - make_interval(secs => %(seconds)s) AND sha256 IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM generation_jobs job
        WHERE job.source_asset_id = assets.id AND job.workspace_id = assets.workspace_id
    )
    AND NOT EXISTS (SELECT FROM job_assets used WHERE used.asset_id = assets.id)
    AND (%(after_time)s::timestamptz IS NULL
        OR (created_at, id) > (%(after_time)s, %(after_id)s::uuid))
ORDER BY created_at, id LIMIT 1
