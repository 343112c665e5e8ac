-- Finds ended jobs whose end is not announced, but those that ended a moment ago: they are being
-- announced, and those that are locked.
SELECT * FROM generation_jobs
WHERE finished_at IS NOT NULL AND announced_at IS NULL
    AND finished_at < now() - make_interval(secs => %(settle)s)
ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
