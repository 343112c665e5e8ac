-- Ends a waiting job at once, and fences it off; leaves a note for the worker of a running one.
-- No row: the job has ended, or there is none.
UPDATE generation_jobs SET
    cancel_requested_at = coalesce(cancel_requested_at, now()),
    status = CASE WHEN status = 'PENDING' THEN 'FAILED' ELSE status END,
    message = CASE WHEN status = 'PENDING' THEN %(message)s ELSE message END,
    error = CASE WHEN status = 'PENDING'
        THEN %(error)s::jsonb || jsonb_build_object('attempt', attempt) ELSE error END,
    finished_at = CASE WHEN status = 'PENDING' THEN now() END,
    next_attempt_at = NULL,
    lease_token = lease_token + CASE WHEN status = 'PENDING' THEN 1 ELSE 0 END
WHERE id = %(id)s AND status IN ('PENDING', 'PROCESSING')
    AND (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
RETURNING *
