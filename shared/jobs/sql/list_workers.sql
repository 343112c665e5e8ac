-- Reads the workers that have announced slots, also those of the last day that are gone.
SELECT owner, runtime, slots, version, started_at, seen_at, expires_at > now() AS is_counted
FROM workers
ORDER BY expires_at > now() DESC, runtime, owner
LIMIT %(limit)s
