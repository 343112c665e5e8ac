-- Ends the pause of a provider; no row: it is not paused.
DELETE FROM paused_providers
WHERE provider = %(provider)s AND provider IN (SELECT provider FROM held_providers)
RETURNING 1
