-- Finds open jobs by their task id, or by the id of their newest envelope.
SELECT id FROM generation_jobs WHERE task_id = %(name)s AND finished_at IS NULL
UNION
SELECT id FROM generation_jobs
WHERE envelope_id = %(name)s AND finished_at IS NULL
