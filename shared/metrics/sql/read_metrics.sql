-- Reads all metrics, by name and labels: the totals of what has ended, and what is open now. Looks
-- at no job that has ended.
WITH open AS MATERIALIZED (
    SELECT status, CASE WHEN status = 'PENDING' AND limits.paused_at IS NULL
        THEN greatest(next_attempt_at, created_at) END AS waits_since
    FROM generation_jobs job LEFT JOIN workspace_limits limits USING (workspace_id)
    WHERE status IN ('PENDING', 'PROCESSING')
), waiting AS MATERIALIZED (
    SELECT created_at, tries FROM webhook_deliveries WHERE next_try_at IS NOT NULL
)
SELECT name, labels, value FROM metric_totals
UNION ALL
SELECT 'darkroom_jobs_open', jsonb_build_object('status', known.status),
    (SELECT count(*) FROM open WHERE open.status = known.status)
FROM (VALUES ('PENDING'::job_status), ('PROCESSING')) AS known (status)
UNION ALL
SELECT 'darkroom_oldest_pending_seconds', '{}', CASE
    WHEN EXISTS (SELECT FROM held_providers WHERE provider = %(provider)s) THEN 0
    ELSE greatest(extract(epoch FROM now() - (SELECT min(waits_since) FROM open)), 0) END
UNION ALL
SELECT each.name, jsonb_build_object('runtime', known.runtime), each.value
FROM (VALUES ('celery'), ('lambda')) AS known (runtime) CROSS JOIN LATERAL (
    SELECT count(*) AS workers, coalesce(sum(slots), 0) AS slots FROM workers
    WHERE workers.runtime = known.runtime AND expires_at > now()
) alive CROSS JOIN LATERAL (
    VALUES ('darkroom_workers', alive.workers), ('darkroom_worker_slots', alive.slots)
) AS each (name, value)
UNION ALL
SELECT 'darkroom_webhook_deliveries_waiting', jsonb_build_object('tried', known.tried),
    (SELECT count(*) FROM waiting WHERE (tries > 0) = (known.tried = 'yes'))
FROM (VALUES ('no'), ('yes')) AS known (tried)
UNION ALL
SELECT 'darkroom_webhook_oldest_waiting_seconds', '{}',
    coalesce(extract(epoch FROM now() - (SELECT min(created_at) FROM waiting)), 0)
UNION ALL
SELECT 'darkroom_webhooks', jsonb_build_object('state', known.state), (
    SELECT count(*) FROM webhooks WHERE known.state = CASE
        WHEN disabled_at IS NOT NULL THEN 'disabled'
        WHEN failing_since IS NOT NULL THEN 'failing' ELSE 'working' END
)
FROM (VALUES ('working'), ('failing'), ('disabled')) AS known (state)
