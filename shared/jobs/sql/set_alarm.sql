-- Notes that a runtime wakes in `seconds`; no row: it wakes then or earlier anyhow, give or take a
-- second.
INSERT INTO release_alarms AS known (runtime, wake_at)
VALUES (%(runtime)s, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (runtime) DO UPDATE SET wake_at = excluded.wake_at
WHERE known.wake_at < now() OR known.wake_at > excluded.wake_at + interval '1 second'
RETURNING 1
