-- Counts a worker's slots until `seconds` have passed without another note.
INSERT INTO workers AS known (owner, runtime, slots, version, expires_at)
VALUES (%(owner)s, %(runtime)s, %(slots)s, %(version)s, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (owner) DO UPDATE SET
    runtime = excluded.runtime, slots = excluded.slots, version = excluded.version,
    seen_at = now(), expires_at = excluded.expires_at,
    started_at = CASE WHEN known.expires_at < now() THEN now() ELSE known.started_at END
