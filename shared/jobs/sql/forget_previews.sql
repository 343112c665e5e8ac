-- Forgets the previews of an attempt.
DELETE FROM previews WHERE job_id = %(id)s AND token = %(token)s
