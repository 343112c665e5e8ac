-- Cancels jobs that did not start in time, and fences them off; passes over locked rows.
UPDATE generation_jobs SET
    status = 'FAILED', message = %(message)s, error = %(error)s, finished_at = now(),
    lease_token = lease_token + 1
WHERE id IN (
    SELECT id FROM generation_jobs
    WHERE status = 'PENDING' AND start_by <= now() AND attempt = 0
    ORDER BY start_by LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING *
