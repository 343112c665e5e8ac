-- Returns the seconds until waiting jobs may start next: a retry is due, a provider is held no
-- more, or an attempt has left the minute of a provider that is limited; NULL if none waits for
-- that. Those that may start already wait for a slot.
WITH next (at) AS (
    SELECT min(next_attempt_at) FROM generation_jobs
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at > now()
    UNION ALL
    SELECT resumes_at FROM paused_providers
    UNION ALL
    SELECT (SELECT min(started_at) FROM calls_of_minute WHERE provider = name) + interval '1 minute'
    FROM jsonb_each(%(provider_limits)s::jsonb) AS each (name, most)
    WHERE jsonb_exists(most, 'a_minute') AND (
        SELECT true FROM fresh_jobs ORDER BY workspace_id, priority DESC, created_at, id LIMIT 1
    )
)
SELECT extract(epoch FROM min(at) - now())::float AS seconds FROM next WHERE at > now()
