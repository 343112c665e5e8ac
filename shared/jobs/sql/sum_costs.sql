-- Sums up what the attempts that ended since a time have cost, by any of workspace, provider and
-- model. Calls whose bill is unknown, or that have no price, are counted apart.
SELECT CASE WHEN 'workspace' = ANY(%(by)s::text[]) THEN workspace_id END AS workspace,
    CASE WHEN 'provider' = ANY(%(by)s::text[]) THEN line.provider END AS provider,
    CASE WHEN 'model' = ANY(%(by)s::text[]) THEN line.model END AS model,
    coalesce(sum(price_microdollars) FILTER (WHERE charge_state = 'charged'), 0)::bigint
        AS price_microdollars,
    count(*) FILTER (WHERE charge_state = 'charged') AS charged_calls,
    count(*) FILTER (WHERE charge_state = 'unknown') AS unknown_calls,
    count(*) FILTER (WHERE charge_state = 'charged' AND price_microdollars IS NULL)
        AS unpriced_calls
FROM generation_attempts line LEFT JOIN generation_jobs job ON job.id = line.job_id
WHERE line.finished_at >= now() - make_interval(secs => %(seconds)s)
GROUP BY 1, 2, 3
ORDER BY price_microdollars DESC, charged_calls DESC
