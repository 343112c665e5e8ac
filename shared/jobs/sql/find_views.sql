-- Reads jobs of a workspace with their ledgers, images and previews, the newest first; a filter
-- that is NULL lets every job pass. Each status is read by itself, as an index has its newest jobs:
-- one that is rare is found as quickly as any other. Previews are those of the running attempt: an
-- earlier attempt's never become an image, and may have been withheld.
WITH page AS (
    (SELECT found.id
    FROM unnest(%(statuses)s::job_status[]) AS wanted
    CROSS JOIN LATERAL (
        SELECT id, created_at FROM generation_jobs
        WHERE workspace_id = %(workspace_id)s AND status = wanted AND NOT %(by_end)s
            AND (%(product_id)s IS NULL OR product_id = %(product_id)s)
            AND (%(user_id)s IS NULL OR user_id = %(user_id)s)
            AND (%(model)s IS NULL OR model = %(model)s)
            AND (%(error_code)s IS NULL OR error ->> 'code' = %(error_code)s)
            AND (%(metadata)s IS NULL OR params -> 'metadata' <> '{}'
                AND params -> 'metadata' @> %(metadata)s
                AND params -> 'metadata' ?& %(metadata_keys)s::text[])
            AND (%(finished_after)s::timestamptz IS NULL OR finished_at > %(finished_after)s)
            AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s)
            AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
            AND (%(before_time)s::timestamptz IS NULL
                OR (created_at, id) < (%(before_time)s, %(before_id)s::uuid))
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) found
    ORDER BY found.created_at DESC, found.id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT id FROM generation_jobs
    WHERE workspace_id = %(workspace_id)s AND %(statuses)s::text[] IS NULL AND NOT %(by_end)s
        AND (%(id)s::uuid IS NULL OR id = %(id)s)
        AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s)
        AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
        AND (%(before_time)s::timestamptz IS NULL
            OR (created_at, id) < (%(before_time)s, %(before_id)s::uuid))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT id FROM generation_jobs
    WHERE workspace_id = %(workspace_id)s AND finished_at IS NOT NULL AND %(by_end)s
        AND (%(statuses)s::text[] IS NULL OR status = ANY(%(statuses)s::job_status[]))
        AND (%(product_id)s IS NULL OR product_id = %(product_id)s)
        AND (%(user_id)s IS NULL OR user_id = %(user_id)s)
        AND (%(model)s IS NULL OR model = %(model)s)
        AND (%(error_code)s IS NULL OR error ->> 'code' = %(error_code)s)
        AND (%(metadata)s IS NULL OR params -> 'metadata' <> '{}'
            AND params -> 'metadata' @> %(metadata)s
            AND params -> 'metadata' ?& %(metadata_keys)s::text[])
        AND (%(finished_after)s::timestamptz IS NULL OR finished_at > %(finished_after)s)
        AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s)
        AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
        AND (%(before_time)s::timestamptz IS NULL
            OR (finished_at, id) < (%(before_time)s, %(before_id)s::uuid))
    ORDER BY finished_at DESC, id DESC LIMIT %(limit)s)
)
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
            'sha256', sha256, 'seed', seed, 'provider', provider, 'model', model,
            'storage_key', storage_key
        ) ORDER BY position), '[]')
        FROM images image WHERE image.job_id = job.id) AS images,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', preview.id, 'position', position, 'number', number,
            'media_type', media_type, 'width_px', width_px, 'height_px', height_px,
            'storage_key', storage_key
        ) ORDER BY position), '[]')
        FROM previews preview
        WHERE preview.job_id = job.id AND job.lease_until IS NOT NULL
            AND preview.token = job.lease_token) AS previews
FROM page JOIN generation_jobs job USING (id)
ORDER BY CASE WHEN %(by_end)s THEN job.finished_at ELSE job.created_at END DESC, job.id DESC
