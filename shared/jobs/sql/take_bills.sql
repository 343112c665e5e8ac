-- Takes purchases whose bill is not known, of jobs that have ended within a day: some lines of the
-- ledger, which no other process takes for a while.
WITH taken AS (
    SELECT job_id, number FROM generation_attempts line
    WHERE charge_state = 'unknown' AND purchases IS NOT NULL AND provider = ANY(%(later)s::text[])
        AND finished_at > now() - interval '1 day'
        AND (asked_at IS NULL OR asked_at < now() - make_interval(secs => %(pause_seconds)s))
        AND EXISTS (SELECT FROM generation_jobs
            WHERE id = line.job_id AND finished_at IS NOT NULL)
    ORDER BY asked_at NULLS FIRST
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), asked AS (
    UPDATE generation_attempts line SET asked_at = now() FROM taken
    WHERE line.job_id = taken.job_id AND line.number = taken.number
    RETURNING line.job_id, line.provider, line.model, line.purchases
)
SELECT job_id, provider, model, entry.id AS purchase, bought
FROM asked, jsonb_each(asked.purchases) AS entry (id, bought)
WHERE bought ->> 'request_id' IS NOT NULL AND bought ->> 'charge_state' IS NULL
