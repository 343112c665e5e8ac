-- Deletes idempotency keys older than `kept_seconds`, passing over those in use.
DELETE FROM idempotency_keys WHERE (workspace_id, key) IN (
    SELECT workspace_id, key FROM idempotency_keys
    WHERE created_at < now() - make_interval(secs => %(kept_seconds)s)
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING 1
