-- Deletes a job whose end is announced; its attempts and images go with it.
DELETE FROM generation_jobs WHERE id = %(id)s AND announced_at IS NOT NULL
RETURNING 1
