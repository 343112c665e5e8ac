-- Returns whether a running job is to be cancelled; no row: the attempt does not own it.
SELECT cancel_requested_at IS NOT NULL AS is_cancelled FROM generation_jobs
WHERE id = %(id)s AND lease_token = %(token)s AND lease_until IS NOT NULL
