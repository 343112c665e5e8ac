-- Forgets the images and previews of a job that has ended; their bytes are deleted.
WITH forgotten AS (
    DELETE FROM previews WHERE job_id = %(id)s
)
DELETE FROM images WHERE job_id = %(id)s
