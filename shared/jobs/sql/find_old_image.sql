-- Finds the job with the image that was made longest ago, more than `seconds`, of those that have
-- ended; with `after`, the next one behind it.
SELECT image.job_id, image.created_at
FROM images image JOIN generation_jobs job ON job.id = image.job_id
WHERE image.created_at < now() - make_interval(secs => %(seconds)s)
    AND job.announced_at IS NOT NULL
    AND (%(after_time)s::timestamptz IS NULL
        OR (image.created_at, image.job_id) > (%(after_time)s, %(after_id)s::uuid))
ORDER BY image.created_at, image.job_id LIMIT 1
