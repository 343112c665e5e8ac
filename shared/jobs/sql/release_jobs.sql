-- Moves waiting jobs from rows to envelopes, at most as many as the runtime has room for: due
-- retries first, then by priority, then those of the workspace that runs fewest, then the oldest.
-- Passes over paused workspaces, workspaces at their running limit, rows that are locked, and
-- providers that are held or at their limits (a row that names none needs `provider`): a job that
-- runs or has an envelope counts, and for a minute each attempt. Looks at no row while all
-- `providers` are closed. Run after `lock_release` in the same transaction. `after` and `groups`
-- bound the scan: it visits the waiting jobs of each workspace and provider behind `after`, in the
-- order of their ids; `spare` rows may be locked. Always returns a row, which says where the scan
-- ended unless it saw the last group.
WITH RECURSIVE limits AS (
    SELECT name AS provider, (most ->> 'calls')::int AS calls, (most ->> 'a_minute')::int AS a_minute
    FROM jsonb_each(%(provider_limits)s::jsonb) AS each (name, most)
), provider_room AS (
    SELECT limits.provider, least(limits.calls - busy.jobs, a_minute - busy.sent - begun.calls) AS free
    FROM limits CROSS JOIN LATERAL (
        SELECT count(*) AS jobs, count(*) FILTER (WHERE status = 'PENDING') AS sent FROM busy_jobs
        WHERE coalesce(busy_jobs.provider, %(provider)s) = limits.provider
    ) busy CROSS JOIN LATERAL (
        SELECT count(*) AS calls FROM calls_of_minute line
        WHERE a_minute IS NOT NULL AND line.provider = limits.provider
    ) begun
), closed AS (
    SELECT provider FROM held_providers
    UNION ALL
    SELECT provider FROM provider_room WHERE free <= 0
), room AS (
    SELECT least(free, %(limit)s) AS free, least(free, %(limit)s) + %(spare)s AS reach
    FROM release_room
    WHERE runtime = %(runtime)s AND free >= %(at_least)s AND NOT %(providers)s::text[] <@ (
        SELECT coalesce(array_agg(provider), '{}')::text[] FROM closed
    )
), waiting_groups (workspace_id, maker, number) AS (
    SELECT (%(after)s::varchar[])[1], (%(after)s::varchar[])[2], 0 FROM room
    UNION ALL
    SELECT found.workspace_id, found.maker, before.number + 1
    FROM waiting_groups before LEFT JOIN LATERAL (
        (SELECT workspace_id, maker FROM fresh_jobs
        WHERE (workspace_id, maker) > (before.workspace_id, before.maker)
        ORDER BY workspace_id, maker LIMIT 1)
        UNION ALL
        (SELECT workspace_id, coalesce(provider, '') FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NOT NULL
            AND (workspace_id, coalesce(provider, '')) > (before.workspace_id, before.maker)
        ORDER BY workspace_id, coalesce(provider, '') LIMIT 1)
        ORDER BY 1, 2 LIMIT 1
    ) found ON true
    WHERE before.workspace_id IS NOT NULL AND before.number < %(groups)s
), open_groups AS (
    SELECT workspace_id, maker, coalesce(nullif(maker, ''), %(provider)s) AS provider
    FROM waiting_groups WHERE number > 0 AND workspace_id IS NOT NULL
        AND coalesce(nullif(maker, ''), %(provider)s) NOT IN (SELECT provider FROM closed)
), busy AS (
    SELECT workspace_id, count(*) AS jobs FROM busy_jobs GROUP BY workspace_id
), candidates AS (
    SELECT head.*, open_groups.provider FROM open_groups CROSS JOIN LATERAL (
        (SELECT id, workspace_id, true AS is_due, 0 AS priority, next_attempt_at AS since
        FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at <= now()
            AND workspace_id = open_groups.workspace_id
            AND coalesce(generation_jobs.provider, '') = open_groups.maker
        ORDER BY next_attempt_at LIMIT (SELECT reach FROM room))
        UNION ALL
        (SELECT id, workspace_id, false, priority, created_at FROM fresh_jobs
        WHERE workspace_id = open_groups.workspace_id AND maker = open_groups.maker
        ORDER BY priority DESC, created_at, id LIMIT (SELECT reach FROM room))
    ) head
), ranked AS (
    SELECT candidates.*, coalesce(busy.jobs, 0) + row_number() OVER (
            PARTITION BY workspace_id ORDER BY is_due DESC, priority DESC, since, id
        ) AS share
    FROM candidates LEFT JOIN busy USING (workspace_id)
), placed AS (
    SELECT id, provider, row_number() OVER (
            ORDER BY is_due DESC, priority DESC, CASE WHEN is_due THEN 0 ELSE share END, since, id
        ) AS place
    FROM ranked LEFT JOIN workspace_limits own USING (workspace_id)
    WHERE own.paused_at IS NULL AND share <= coalesce(own.running_jobs, %(running_limit)s, share)
), chosen AS (
    SELECT id, place FROM (
        SELECT placed.*, row_number() OVER (PARTITION BY provider ORDER BY place) AS turn
        FROM placed
    ) waiting LEFT JOIN provider_room USING (provider)
    WHERE turn <= coalesce(provider_room.free, turn)
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
        SELECT ARRAY[workspace_id, maker] FROM waiting_groups
        WHERE number = %(groups)s AND workspace_id IS NOT NULL
    ) AS scanned_to
FROM (SELECT) one LEFT JOIN (
    SELECT released.*, place FROM released JOIN taken USING (id)
) sent ON true
ORDER BY place
