-- Returns how many envelopes the runtime can take now, and whether a job waits for one. The order
-- leads to an index: the planner takes a tenth of all rows for easy to find.
SELECT room.slots, room.free, coalesce((
        SELECT true FROM fresh_jobs ORDER BY workspace_id, priority DESC, created_at, id LIMIT 1
    ), (
        SELECT true FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT 1
    ), false) AS has_waiting
FROM release_room room WHERE room.runtime = %(runtime)s
