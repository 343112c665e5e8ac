-- Reads the providers that are paused or held.
SELECT provider, paused_at FROM paused_providers
WHERE provider IN (SELECT provider FROM held_providers) ORDER BY provider
