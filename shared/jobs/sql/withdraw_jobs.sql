-- Takes envelopes back into their rows: they were not sent, or are lost. A job that was claimed
-- or released anew in the meantime is left alone, and so is one that is locked.
UPDATE generation_jobs SET
    dispatched_at = NULL, dispatches = greatest(dispatches - %(uncounted)s, 0)
WHERE id IN (
    SELECT job.id FROM generation_jobs job
    JOIN unnest(%(ids)s::uuid[], %(envelope_ids)s::text[]) AS lost (id, envelope_id)
        ON job.id = lost.id AND job.envelope_id IS NOT DISTINCT FROM lost.envelope_id
    WHERE job.status = 'PENDING' FOR UPDATE OF job SKIP LOCKED
)
