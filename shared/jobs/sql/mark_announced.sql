-- Notes that the last event of an ended job is published, and its result record written.
UPDATE generation_jobs SET announced_at = now(), progress = greatest(progress, %(progress)s)
WHERE id = %(id)s AND announced_at IS NULL
