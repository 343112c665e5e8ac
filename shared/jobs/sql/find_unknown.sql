-- Returns those of the ids that no job has.
SELECT stored.id FROM unnest(%(ids)s::uuid[]) AS stored (id)
WHERE NOT EXISTS (SELECT FROM generation_jobs job WHERE job.id = stored.id)
