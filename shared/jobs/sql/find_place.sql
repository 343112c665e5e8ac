-- Counts the jobs that start before a waiting one, in the order of `release_jobs`, and estimates
-- from recent run times when it starts. `ahead` is NULL beyond `limit` jobs or `workspaces` waiting
-- workspaces, so that the statement stays cheap. `seconds` is NULL where nothing was measured within
-- a day, where no worker is there, and where the job waits for more than a slot.
WITH RECURSIVE mine AS (
    SELECT * FROM generation_jobs
    WHERE id = %(id)s AND status = 'PENDING' AND next_attempt_at IS NULL
), ready AS NOT MATERIALIZED (
    SELECT * FROM fresh_jobs WHERE coalesce(provider, %(provider)s) NOT IN (
        SELECT provider FROM held_providers
        WHERE provider <> (SELECT coalesce(provider, %(provider)s) FROM mine)
    )
), due AS (
    SELECT workspace_id FROM generation_jobs
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at <= now()
        AND EXISTS (SELECT FROM mine WHERE dispatched_at IS NULL)
    LIMIT %(limit)s + 1
), busy AS (
    SELECT workspace_id, count(*) AS jobs FROM (
        SELECT workspace_id FROM busy_jobs
        UNION ALL
        SELECT workspace_id FROM due
    ) job
    GROUP BY workspace_id
), own AS (
    SELECT count(*) AS jobs FROM (
        SELECT FROM mine JOIN ready job USING (workspace_id)
        WHERE mine.dispatched_at IS NULL AND job.priority > mine.priority
        UNION ALL
        SELECT FROM mine JOIN ready job USING (workspace_id, priority)
        WHERE mine.dispatched_at IS NULL
            AND (job.created_at, job.id) < (mine.created_at, mine.id)
        LIMIT %(limit)s + 1
    ) job
), turn AS (
    SELECT mine.*, coalesce(busy.jobs, 0) + own.jobs + 1 AS share
    FROM mine CROSS JOIN own LEFT JOIN busy USING (workspace_id)
), waiting_workspaces (workspace_id, number) AS (
    SELECT (SELECT workspace_id FROM ready ORDER BY workspace_id LIMIT 1), 1
    FROM mine WHERE dispatched_at IS NULL
    UNION ALL
    SELECT (
        SELECT workspace_id FROM ready WHERE workspace_id > before.workspace_id
        ORDER BY workspace_id LIMIT 1
    ), number + 1
    FROM waiting_workspaces before
    WHERE before.workspace_id IS NOT NULL AND number <= %(workspaces)s
), others AS (
    SELECT other.workspace_id, coalesce(busy.jobs, 0) + higher.jobs AS jobs, higher.jobs AS higher
    FROM waiting_workspaces other JOIN turn ON turn.workspace_id <> other.workspace_id
        LEFT JOIN busy ON busy.workspace_id = other.workspace_id
        LEFT JOIN workspace_limits limits ON limits.workspace_id = other.workspace_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM (
            SELECT FROM ready job
            WHERE job.workspace_id = other.workspace_id AND job.priority > turn.priority
            LIMIT %(limit)s + 1
        ) job
    ) higher
    WHERE limits.paused_at IS NULL
), before AS (
    SELECT count(*) AS jobs FROM (
        SELECT FROM mine JOIN generation_jobs job ON job.status = 'PENDING'
            AND job.dispatched_at < coalesce(mine.dispatched_at, 'infinity')
        UNION ALL
        SELECT FROM due
        UNION ALL
        SELECT FROM own CROSS JOIN LATERAL generate_series(1, own.jobs)
        UNION ALL
        SELECT FROM others CROSS JOIN LATERAL generate_series(1, others.higher)
        UNION ALL
        SELECT FROM turn CROSS JOIN others CROSS JOIN LATERAL (
            SELECT created_at, id,
                others.jobs + row_number() OVER (ORDER BY created_at, id) AS share
            FROM ready
            WHERE workspace_id = others.workspace_id AND priority = turn.priority
            ORDER BY created_at, id LIMIT greatest(turn.share - others.jobs, 0)
        ) job
        WHERE (job.share, job.created_at, job.id) < (turn.share, turn.created_at, turn.id)
        LIMIT %(limit)s + 1
    ) job
), measured AS (
    SELECT avg(extract(epoch FROM finished_at - started_at)) AS run_seconds FROM (
        SELECT started_at, finished_at, attempt FROM generation_jobs
        WHERE finished_at > now() - interval '1 day' ORDER BY finished_at DESC LIMIT 20
    ) ended
    WHERE attempt = 1 AND started_at IS NOT NULL
)
SELECT ahead, (CASE
        WHEN limits.paused_at IS NULL AND NOT EXISTS (
            SELECT FROM held_providers WHERE provider = coalesce(turn.provider, %(provider)s)
        ) AND turn.share <= coalesce(limits.running_jobs, %(running_limit)s, turn.share)
        THEN run_seconds * (ahead + 1) / (SELECT nullif(sum(slots), 0) FROM release_room)
    END)::float AS seconds
FROM turn CROSS JOIN measured LEFT JOIN workspace_limits limits USING (workspace_id)
CROSS JOIN LATERAL (
    SELECT CASE WHEN jobs <= %(limit)s AND NOT EXISTS (
        SELECT FROM waiting_workspaces WHERE number > %(workspaces)s AND workspace_id IS NOT NULL
    ) THEN jobs END AS ahead FROM before
) counted
