-- Pauses a provider; one that is paused keeps the time of its pause.
INSERT INTO paused_providers AS known (provider) VALUES (%(provider)s)
ON CONFLICT (provider) DO UPDATE SET paused_at = now(), resumes_at = NULL
WHERE known.resumes_at IS NOT NULL
