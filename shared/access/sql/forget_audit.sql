-- Deletes rows of the audit that are older than `kept_seconds`.
DELETE FROM audit WHERE number IN (
    SELECT number FROM audit
    WHERE at < now() - make_interval(secs => %(kept_seconds)s)
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING 1
