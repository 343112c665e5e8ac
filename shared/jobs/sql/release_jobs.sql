-- Moves waiting jobs from rows to envelopes, at most as many as the runtime has room for: due
-- retries first, then by priority, then those of the workspace that runs fewest, then the oldest.
-- Passes over paused workspaces, workspaces at their running limit, and rows that are locked.
-- Run after `lock_release` in the same transaction. `after` and `workspaces` bound the scan: it
-- visits the waiting workspaces behind `after`, in the order of their ids.
WITH RECURSIVE room AS (
    SELECT least(free, %(limit)s) AS free FROM release_room
    WHERE runtime = %(runtime)s AND free >= %(at_least)s AND NOT EXISTS (
        SELECT FROM paused_providers WHERE provider = %(provider)s
    )
), waiting_workspaces (workspace_id, number) AS (
    SELECT (
        SELECT job.workspace_id FROM generation_jobs job
        WHERE job.status = 'PENDING' AND job.dispatched_at IS NULL
            AND job.next_attempt_at IS NULL AND job.workspace_id > %(after)s
        ORDER BY job.workspace_id LIMIT 1
    ), 1
    FROM room
    UNION ALL
    SELECT (
        SELECT job.workspace_id FROM generation_jobs job
        WHERE job.status = 'PENDING' AND job.dispatched_at IS NULL
            AND job.next_attempt_at IS NULL AND job.workspace_id > before.workspace_id
        ORDER BY job.workspace_id LIMIT 1
    ), number + 1
    FROM waiting_workspaces before
    WHERE before.workspace_id IS NOT NULL AND number < %(workspaces)s
), busy AS (
    SELECT workspace_id, count(*) AS jobs FROM generation_jobs
    WHERE status = 'PROCESSING' OR status = 'PENDING' AND dispatched_at IS NOT NULL
    GROUP BY workspace_id
), candidates AS (
    (SELECT id, workspace_id, true AS is_due, 0 AS priority, next_attempt_at AS since
    FROM generation_jobs
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at <= now()
        AND EXISTS (SELECT FROM room)
    ORDER BY next_attempt_at LIMIT %(retries)s)
    UNION ALL
    SELECT head.id, head.workspace_id, false, head.priority, head.created_at
    FROM waiting_workspaces CROSS JOIN LATERAL (
        SELECT id, workspace_id, priority, created_at FROM generation_jobs job
        WHERE job.status = 'PENDING' AND job.dispatched_at IS NULL
            AND job.next_attempt_at IS NULL
            AND job.workspace_id = waiting_workspaces.workspace_id
        ORDER BY priority DESC, created_at, id LIMIT (SELECT free FROM room)
    ) head
), ranked AS (
    SELECT candidates.*, coalesce(busy.jobs, 0) + row_number() OVER (
            PARTITION BY workspace_id ORDER BY is_due DESC, priority DESC, since, id
        ) AS share
    FROM candidates LEFT JOIN busy USING (workspace_id)
), chosen AS (
    SELECT ranked.id, row_number() OVER (
            ORDER BY is_due DESC, priority DESC, CASE WHEN is_due THEN 0 ELSE share END, since,
                ranked.id
        ) AS place
    FROM ranked LEFT JOIN workspace_limits limits USING (workspace_id)
    WHERE limits.paused_at IS NULL
        AND share <= coalesce(limits.running_jobs, %(running_limit)s, share)
    ORDER BY place LIMIT (SELECT free FROM room)
), released AS (
    UPDATE generation_jobs SET
        dispatched_at = now(), dispatches = dispatches + 1, released_to = %(runtime)s,
        envelope_id = gen_random_uuid()::text
    WHERE id IN (
        SELECT id FROM generation_jobs
        WHERE id IN (SELECT id FROM chosen) AND status = 'PENDING' AND dispatched_at IS NULL
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id, envelope_id
)
SELECT released.id, released.envelope_id, (
        SELECT max(workspace_id) FROM waiting_workspaces
        HAVING max(number) >= %(workspaces)s
    ) AS scanned_to
FROM released JOIN chosen USING (id) ORDER BY place
