-- Inserts a waiting job within its workspace's limits, once for its idempotency key (NULL: none).
-- Always returns one row, without an `id` if the workspace may not ask for the model, a limit is
-- reached (less `margin`) or the key was used within `kept_seconds`; of two first requests
-- (`is_first`) neither repeats the other. Open jobs and costs are counted exactly only under
-- `lock_workspace`; a job that a budget pays for is accepted only there (`margin` 0). A quote
-- (`is_quote`) writes nothing. Of two requests with one key, the second waits here for the first
-- one's commit. The job is released at once where the runtime has room and no other job waits
-- (exactly so under `lock_release`); otherwise it waits in its row. What it is based on is noted in
-- `job_assets`, so that nothing deletes it meanwhile.
WITH limits AS (
    SELECT CASE WHEN %(is_limited)s THEN coalesce(own.open_jobs, %(open_jobs)s) END AS open_jobs,
        CASE WHEN %(is_limited)s
            THEN coalesce(own.submissions_per_minute, %(submissions_per_minute)s)
        END AS submissions,
        CASE WHEN %(is_limited)s THEN coalesce(own.cost_per_day, %(cost_per_day)s) END AS cost_per_day,
        CASE WHEN %(is_limited)s
            THEN coalesce(own.cost_per_month, %(cost_per_month)s)
        END AS cost_per_month,
        own.paused_at IS NULL AND coalesce(own.running_jobs, %(running_limit)s) IS NULL AS are_free,
        own.models, coalesce(%(job_models)s::varchar[] <@ own.models, true) AS is_allowed
    FROM (SELECT) one LEFT JOIN workspace_limits own ON own.workspace_id = %(workspace_id)s
), open AS (
    SELECT count(*) AS jobs FROM (
        SELECT FROM generation_jobs
        WHERE workspace_id = %(workspace_id)s AND status IN ('PENDING', 'PROCESSING')
            AND (SELECT open_jobs FROM limits) IS NOT NULL
        LIMIT (SELECT open_jobs FROM limits)
    ) job
), reserved AS (
    SELECT coalesce(sum(quoted_microdollars), 0) AS cost FROM generation_jobs
    WHERE workspace_id = %(workspace_id)s AND status = 'PENDING'
        AND (SELECT coalesce(cost_per_day, cost_per_month) FROM limits) IS NOT NULL
), costs AS (
    SELECT coalesce(today, 0) + cost AS today, coalesce(this_month, 0) + cost AS this_month
    FROM reserved LEFT JOIN workspace_spent ON workspace_id = %(workspace_id)s
), room AS (
    SELECT FROM limits, open, costs
    WHERE is_allowed AND NOT %(is_quote)s
        AND (limits.open_jobs IS NULL OR jobs < open_jobs - %(margin)s)
        AND (cost_per_day IS NULL
            OR %(margin)s = 0 AND today + %(quoted_microdollars)s <= cost_per_day)
        AND (cost_per_month IS NULL
            OR %(margin)s = 0 AND this_month + %(quoted_microdollars)s <= cost_per_month)
), counted AS (
    INSERT INTO submission_windows AS seen (workspace_id, submissions)
    SELECT %(workspace_id)s, 1 FROM room, limits WHERE limits.submissions > 0
    ON CONFLICT (workspace_id) DO UPDATE SET
        began_at = CASE WHEN seen.began_at <= now() - interval '1 minute' THEN now()
            ELSE seen.began_at END,
        submissions = CASE WHEN seen.began_at <= now() - interval '1 minute' THEN 1
            ELSE seen.submissions + 1 END
    WHERE seen.began_at <= now() - interval '1 minute'
        OR seen.submissions < (SELECT submissions FROM limits)
    RETURNING began_at, submissions
), admitted AS (
    SELECT FROM room, limits WHERE limits.submissions IS NULL OR EXISTS (SELECT FROM counted)
), claimed AS (
    INSERT INTO idempotency_keys AS kept (workspace_id, key, request_sha256, is_first, job_id)
    SELECT %(workspace_id)s, %(key)s, %(request_sha256)s, %(is_first)s, %(id)s FROM admitted
    WHERE %(key)s::text IS NOT NULL
    ON CONFLICT (workspace_id, key) DO UPDATE SET
        request_sha256 = excluded.request_sha256, is_first = excluded.is_first,
        job_id = excluded.job_id, created_at = now()
    WHERE kept.created_at < now() - make_interval(secs => %(kept_seconds)s)
        OR kept.is_first AND excluded.is_first
        OR NOT (%(outlives_job)s
            OR EXISTS (SELECT FROM generation_jobs WHERE id = kept.job_id))
    RETURNING 1
), released AS (
    SELECT EXISTS (
        SELECT FROM release_room WHERE runtime = %(runtime)s AND free > 0
    ) AND (
        SELECT true FROM fresh_jobs ORDER BY workspace_id, priority DESC, created_at, id LIMIT 1
    ) IS NULL AND (
        SELECT true FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT 1
    ) IS NULL AND NOT EXISTS (
        SELECT FROM held_providers WHERE provider = coalesce(%(job_provider)s, %(provider)s)
    ) AND NOT jsonb_exists(%(provider_limits)s::jsonb, coalesce(%(job_provider)s, %(provider)s))
        AND limits.are_free AS now
    FROM limits
), inserted AS (
    INSERT INTO generation_jobs (
        id, task_id, workspace_id, user_id, product_id, source_asset_id, params, max_attempts,
        priority, start_by, message, dispatched_at, dispatches, released_to, envelope_id,
        webhook_url, webhook_events, retry_of, provider, model, traceparent, request_id,
        reference_asset_ids, mask_asset_id, quoted_microdollars
    )
    SELECT %(id)s, %(task_id)s, %(workspace_id)s, %(user_id)s, %(product_id)s,
        %(source_asset_id)s::uuid, %(params)s::jsonb, %(max_attempts)s, %(priority)s,
        now() + make_interval(secs => %(start_within_seconds)s), %(message)s,
        CASE WHEN released.now THEN now() END, CASE WHEN released.now THEN 1 ELSE 0 END,
        CASE WHEN released.now THEN %(runtime)s END,
        CASE WHEN released.now THEN %(envelope_id)s END,
        %(webhook_url)s, %(webhook_events)s::varchar[], %(retry_of)s::uuid,
        %(job_provider)s, (%(job_models)s::varchar[])[1], %(traceparent)s, %(request_id)s,
        %(reference_asset_ids)s::uuid[], %(mask_asset_id)s::uuid, %(quoted_microdollars)s
    FROM admitted CROSS JOIN released
    WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
    RETURNING *
), used AS (
    INSERT INTO job_assets (job_id, workspace_id, asset_id)
    SELECT DISTINCT inserted.id, workspace_id, asset_id
    FROM inserted, unnest(reference_asset_ids || mask_asset_id) asset_id
    WHERE asset_id IS NOT NULL
)
SELECT inserted.*, limits.models, limits.is_allowed,
    limits.open_jobs AS open_limit, open.jobs AS open_jobs,
    limits.submissions AS submission_limit, coalesce(counted.submissions - 1, CASE
        WHEN seen.began_at > now() - interval '1 minute' THEN seen.submissions ELSE 0 END
    ) AS submissions,
    extract(epoch FROM coalesce(counted.began_at, seen.began_at) + interval '1 minute' - now()
    )::float AS window_seconds,
    cost_per_day, cost_per_month, costs.today::bigint, costs.this_month::bigint,
    extract(epoch FROM date_trunc('day', utc.now) + interval '1 day' - utc.now)::float AS day_seconds,
    extract(epoch FROM date_trunc('month', utc.now) + interval '1 month' - utc.now)::float
        AS month_seconds
FROM (SELECT now() AT TIME ZONE 'UTC') utc (now)
    CROSS JOIN limits CROSS JOIN open CROSS JOIN costs LEFT JOIN inserted ON true LEFT JOIN counted ON true
    LEFT JOIN submission_windows seen
        ON seen.workspace_id = %(workspace_id)s AND limits.submissions IS NOT NULL
