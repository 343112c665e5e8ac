-- Reads jobs of a workspace with their ledgers, images and previews, the newest first; a filter
-- that is NULL lets every job pass. Previews are those of the running attempt: an earlier
-- attempt's never become an image, and may have been withheld.
SELECT job.*,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'number', number, 'started_at', line.started_at, 'finished_at', line.finished_at,
            'outcome', outcome, 'charge_state', charge_state, 'error', line.error,
            'provider', line.provider, 'model', line.model,
            'request_id', provider_request_id, 'units', units,
            'price_microdollars', price_microdollars
        ) ORDER BY number), '[]')
        FROM generation_attempts line WHERE line.job_id = job.id) AS attempts,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', image.id, 'position', position, 'media_type', media_type,
            'width_px', width_px, 'height_px', height_px, 'size_bytes', size_bytes,
            'sha256', sha256, 'seed', seed, 'provider', provider, 'model', model
        ) ORDER BY position), '[]')
        FROM images image WHERE image.job_id = job.id) AS images,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', preview.id, 'position', position, 'number', number,
            'media_type', media_type, 'width_px', width_px, 'height_px', height_px
        ) ORDER BY position), '[]')
        FROM previews preview
        WHERE preview.job_id = job.id AND job.status = 'PROCESSING'
            AND preview.token = job.lease_token) AS previews
FROM generation_jobs job
WHERE workspace_id = %(workspace_id)s
    AND (%(id)s::uuid IS NULL OR id = %(id)s)
    AND (%(statuses)s::text[] IS NULL OR status::text = ANY(%(statuses)s))
    AND (%(product_id)s IS NULL OR product_id = %(product_id)s)
    AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s)
    AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
    AND (%(before_time)s::timestamptz IS NULL
        OR (created_at, id) < (%(before_time)s, %(before_id)s::uuid))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
