-- Lets the lease of an attempt run out now: the next delivery or sweep takes the job over.
UPDATE generation_jobs SET lease_until = now() - interval '1 microsecond'
WHERE id = %(id)s AND lease_token = %(token)s AND lease_until IS NOT NULL
