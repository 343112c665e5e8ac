-- Reads the providers that are paused.
SELECT provider, paused_at FROM paused_providers ORDER BY provider
