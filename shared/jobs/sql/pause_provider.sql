-- Pauses a provider; one that is paused keeps the time of its pause.
INSERT INTO paused_providers (provider) VALUES (%(provider)s) ON CONFLICT DO NOTHING
