-- Adds the jobs that have ended since the last run to the totals, at most about `limit`, and returns
-- how many they were. Each is counted once, however many runs there are: one holds the horizon, the
-- others pass. Leaves out the last `lag` seconds, so that no end that is committed late is missed.
WITH horizon AS (
    SELECT counted_to AS since, greatest(counted_to, now() - make_interval(secs => %(lag)s)) AS until
    FROM metric_horizon FOR UPDATE SKIP LOCKED
), page AS (
    SELECT since, coalesce((
        SELECT finished_at FROM generation_jobs
        WHERE finished_at > since AND finished_at <= until
        ORDER BY finished_at OFFSET %(limit)s - 1 LIMIT 1
    ), until) AS until
    FROM horizon
), moved AS (
    UPDATE metric_horizon SET counted_to = page.until FROM page
), ended AS MATERIALIZED (
    SELECT job.id, job.status, job.error, job.attempt, job.created_at, job.started_at
    FROM page JOIN generation_jobs job ON finished_at > since AND finished_at <= until
), tries AS MATERIALIZED (
    SELECT line.*, coalesce(line.provider, '') AS maker, coalesce(line.error->>'code', '') AS code,
        extract(epoch FROM line.finished_at - line.started_at) AS seconds
    FROM ended JOIN generation_attempts line ON line.job_id = ended.id
    WHERE line.finished_at IS NOT NULL
), lasted (name, labels, seconds) AS (
    SELECT 'darkroom_job_queue_seconds', jsonb_build_object('runtime', coalesce(runtime, '')),
        extract(epoch FROM ended.started_at - created_at)
    FROM ended LEFT JOIN tries ON job_id = ended.id AND number = 1
    WHERE ended.started_at IS NOT NULL
    UNION ALL
    SELECT 'darkroom_attempt_seconds', jsonb_build_object('runtime', runtime, 'provider', maker),
        seconds
    FROM tries
), counted (name, labels, value) AS (
    SELECT 'darkroom_jobs_total', jsonb_build_object('status', status,
            'code', coalesce(ended.error->>'code', ''), 'runtime', coalesce(runtime, ''),
            'provider', coalesce(maker, '')), count(*)
    FROM ended LEFT JOIN tries ON job_id = ended.id AND number = ended.attempt
    GROUP BY 2
    UNION ALL
    SELECT 'darkroom_attempts_total', jsonb_build_object('outcome', outcome, 'code', code,
            'runtime', runtime, 'provider', maker), count(*)
    FROM tries GROUP BY 2
    UNION ALL
    SELECT 'darkroom_provider_calls_total',
        jsonb_build_object('charge_state', charge_state, 'provider', maker), count(*)
    FROM tries GROUP BY 2
    UNION ALL
    SELECT 'darkroom_cost_microdollars_total', jsonb_build_object('provider', maker),
        coalesce(sum(price_microdollars) FILTER (WHERE charge_state = 'charged'), 0)
    FROM tries GROUP BY 2
    UNION ALL
    SELECT name || '_bucket', labels || jsonb_build_object('le', bound),
        count(*) FILTER (WHERE seconds <= bound::float)
    FROM lasted CROSS JOIN unnest(%(bounds)s::text[]) AS bound
    GROUP BY 1, 2
    UNION ALL
    SELECT name || '_count', labels, count(*) FROM lasted GROUP BY 1, 2
    UNION ALL
    SELECT name || '_sum', labels, sum(seconds) FROM lasted GROUP BY 1, 2
), added AS (
    INSERT INTO metric_totals AS total (name, labels, value) SELECT name, labels, value FROM counted
    ON CONFLICT (name, labels) DO UPDATE SET value = total.value + excluded.value
)
SELECT count(*) AS jobs FROM ended
