-- Holds a provider for some seconds; an operator's pause, and a longer hold, stay.
INSERT INTO paused_providers AS known (provider, resumes_at)
VALUES (%(provider)s, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (provider) DO UPDATE SET
    paused_at = CASE WHEN known.resumes_at < now() THEN now() ELSE known.paused_at END,
    resumes_at = greatest(known.resumes_at, excluded.resumes_at)
WHERE known.resumes_at IS NOT NULL
