-- Counts the jobs that have ended within some seconds by how many minutes ago that was; no more than
-- the newest `limit`. A cancelled job has not failed.
SELECT floor(extract(epoch FROM now() - finished_at) / 60)::int AS minutes_ago,
    count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
    count(*) FILTER (WHERE status = 'FAILED' AND error->>'code' <> 'cancelled') AS failed
FROM (
    SELECT finished_at, status, error FROM generation_jobs
    WHERE finished_at > now() - make_interval(secs => %(seconds)s)
    ORDER BY finished_at DESC LIMIT %(limit)s
) ended
GROUP BY 1
ORDER BY 1
