-- Returns the seconds until the next retry is due; NULL without one. Those that are due already
-- wait for a slot.
SELECT extract(epoch FROM min(next_attempt_at) - now())::float AS seconds
FROM generation_jobs
WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at > now()
