-- Returns how many envelopes the runtime can take now, and whether a job waits for one.
SELECT room.slots, room.free, EXISTS (
        SELECT FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NULL
    ) OR EXISTS (
        SELECT FROM generation_jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at <= now()
    ) AS has_waiting
FROM release_room room WHERE room.runtime = %(runtime)s
