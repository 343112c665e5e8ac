-- Moves waiting jobs from rows to envelopes, at most as many as the runtime has room for: due
-- retries first, then by priority, then those of the workspace that runs fewest, then the oldest.
-- Passes over paused workspaces and providers (a row that names none needs `provider`), workspaces
-- at their running limit, and rows that are locked. Looks at no row while all `providers` are paused.
-- Run after `lock_release` in the same transaction. `after` and `workspaces` bound the scan: it
-- visits the waiting workspaces behind `after`, in the order of their ids; `spare` rows may be
-- locked. Always returns a row, which says where the scan ended unless it saw the last workspace.
WITH RECURSIVE room AS (
    SELECT least(free, %(limit)s) AS free, least(free, %(limit)s) + %(spare)s AS reach
    FROM release_room
    WHERE runtime = %(runtime)s AND free >= %(at_least)s AND NOT %(providers)s::varchar[] <@ (
        SELECT coalesce(array_agg(provider), '{}') FROM paused_providers
    )
), waiting_workspaces (workspace_id, number) AS (
    SELECT %(after)s::varchar, 0 FROM room
    UNION ALL
    SELECT least((
        SELECT workspace_id FROM fresh_jobs WHERE workspace_id > before.workspace_id
        ORDER BY workspace_id LIMIT 1
    ), (
        SELECT workspace_id FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NOT NULL
            AND workspace_id > before.workspace_id
        ORDER BY workspace_id LIMIT 1
    )), number + 1
    FROM waiting_workspaces before
    WHERE before.workspace_id IS NOT NULL AND number < %(workspaces)s
), busy AS (
    SELECT workspace_id, count(*) AS jobs FROM busy_jobs GROUP BY workspace_id
), candidates AS (
    SELECT head.* FROM waiting_workspaces CROSS JOIN LATERAL (
        (SELECT id, workspace_id, true AS is_due, 0 AS priority, next_attempt_at AS since
        FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at <= now()
            AND workspace_id = waiting_workspaces.workspace_id
            AND coalesce(provider, %(provider)s) NOT IN (SELECT provider FROM paused_providers)
        ORDER BY next_attempt_at LIMIT (SELECT reach FROM room))
        UNION ALL
        (SELECT id, workspace_id, false, priority, created_at FROM fresh_jobs
        WHERE workspace_id = waiting_workspaces.workspace_id
            AND coalesce(provider, %(provider)s) NOT IN (SELECT provider FROM paused_providers)
        ORDER BY priority DESC, created_at, id LIMIT (SELECT reach FROM room))
    ) head
    WHERE number > 0
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
    ORDER BY place LIMIT (SELECT reach FROM room)
), taken AS (
    SELECT job.id, chosen.place FROM generation_jobs job JOIN chosen USING (id)
    WHERE job.status = 'PENDING' AND job.dispatched_at IS NULL
    ORDER BY chosen.place LIMIT (SELECT free FROM room) FOR UPDATE OF job SKIP LOCKED
), released AS (
    UPDATE generation_jobs SET
        dispatched_at = now(), dispatches = dispatches + 1, released_to = %(runtime)s,
        envelope_id = gen_random_uuid()::text
    WHERE id IN (SELECT id FROM taken)
    RETURNING id, envelope_id, traceparent
)
SELECT sent.id, sent.envelope_id, sent.traceparent, (
        SELECT max(workspace_id) FROM waiting_workspaces HAVING max(number) >= %(workspaces)s
    ) AS scanned_to
FROM (SELECT) one LEFT JOIN (
    SELECT released.*, place FROM released JOIN taken USING (id)
) sent ON true
ORDER BY place
