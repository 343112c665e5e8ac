-- Ends the pause of a provider; no row: it is not paused.
DELETE FROM paused_providers WHERE provider = %(provider)s RETURNING 1
