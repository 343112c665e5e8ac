-- Notes that the envelopes of waiting jobs were not sent: the next sweep sends them. What was not
-- sent does not count, so a later lost envelope is noticed after a single grace period.
UPDATE generation_jobs SET dispatched_at = NULL, dispatches = greatest(dispatches - 1, 0)
WHERE id = ANY(%(ids)s::uuid[]) AND status = 'PENDING'
