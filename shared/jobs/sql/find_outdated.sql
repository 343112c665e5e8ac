-- Finds jobs that ended more than `seconds` ago, the oldest first.
SELECT id FROM generation_jobs
WHERE finished_at < now() - make_interval(secs => %(seconds)s) AND announced_at IS NOT NULL
ORDER BY finished_at LIMIT %(limit)s
