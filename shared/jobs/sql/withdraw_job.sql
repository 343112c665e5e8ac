-- Takes the envelope of a waiting job back into its row: it is known to be gone.
UPDATE generation_jobs SET dispatched_at = NULL WHERE id = %(id)s AND status = 'PENDING'
