-- Reads those of the jobs that have ended. One that ended a moment ago and is not announced yet
-- is left out: its own last event is about to come.
SELECT * FROM generation_jobs
WHERE id = ANY(%(ids)s::uuid[]) AND finished_at IS NOT NULL
    AND (announced_at IS NOT NULL OR finished_at < now() - interval '2 seconds')
