-- Counts the envelope of a waiting job that is due as gone: it is dispatched again at once.
UPDATE generation_jobs SET dispatched_at = NULL
WHERE id = %(id)s AND status = 'PENDING'
    AND (next_attempt_at IS NULL OR next_attempt_at <= now())
