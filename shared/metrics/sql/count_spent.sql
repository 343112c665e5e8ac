-- Counts the attempts of the jobs that ended in the last full minute, by what is known of their bill.
-- Each run within a minute sees the same ones, and runs in all minutes see each once.
SELECT charge_state, count(*) AS calls,
    coalesce(sum(price_microdollars) FILTER (WHERE charge_state = 'charged'), 0) AS microdollars
FROM generation_jobs job JOIN generation_attempts line ON line.job_id = job.id
WHERE job.finished_at >= date_trunc('minute', now()) - interval '1 minute'
    AND job.finished_at < date_trunc('minute', now())
GROUP BY 1
