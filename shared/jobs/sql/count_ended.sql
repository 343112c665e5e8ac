-- Counts the jobs that ended in the last full minute, by error code; NULL is the code of success.
-- Each run within a minute sees the same ones, and runs in all minutes see each job once.
SELECT error->>'code' AS code, count(*) AS jobs
FROM generation_jobs
WHERE finished_at >= date_trunc('minute', now()) - interval '1 minute'
    AND finished_at < date_trunc('minute', now())
GROUP BY 1
