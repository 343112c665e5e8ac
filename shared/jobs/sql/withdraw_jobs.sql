-- Takes envelopes back into their rows: they were not sent, or are lost. A job that was claimed
-- or released anew in the meantime is left alone.
UPDATE generation_jobs job SET
    dispatched_at = NULL, dispatches = greatest(job.dispatches - %(uncounted)s, 0)
FROM unnest(%(ids)s::uuid[], %(envelope_ids)s::text[]) AS lost (id, envelope_id)
WHERE job.id = lost.id AND job.status = 'PENDING'
    AND job.envelope_id IS NOT DISTINCT FROM lost.envelope_id
