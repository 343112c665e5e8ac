-- Finds the job that ended longest ago, more than `seconds`; with `after`, the next one behind it.
SELECT * FROM generation_jobs
WHERE finished_at < now() - make_interval(secs => %(seconds)s) AND announced_at IS NOT NULL
    AND (%(after_time)s::timestamptz IS NULL
        OR (finished_at, id) > (%(after_time)s, %(after_id)s::uuid))
ORDER BY finished_at, id LIMIT 1
