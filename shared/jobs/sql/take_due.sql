-- Takes jobs to dispatch now, and counts them as dispatched; rows that another sweep has locked
-- are passed over. The grace doubles with each dispatch (to 64 times), so that a long queue does
-- not fill up with copies of the envelopes that it holds.
UPDATE generation_jobs SET dispatched_at = now(), dispatches = dispatches + 1
WHERE id IN (
    SELECT id FROM generation_jobs
    WHERE status = 'PENDING' AND (next_attempt_at IS NULL OR next_attempt_at <= now())
        AND (dispatched_at IS NULL OR dispatched_at < now() - make_interval(
            secs => %(grace)s * 2 ^ least(greatest(dispatches - 1, 0), 6)))
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING id, task_id, attempt, max_attempts, lease_token
