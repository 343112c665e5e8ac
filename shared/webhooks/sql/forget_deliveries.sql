-- Deletes deliveries that were made more than `kept_seconds` ago.
DELETE FROM webhook_deliveries WHERE number IN (
    SELECT number FROM webhook_deliveries
    WHERE created_at < now() - make_interval(secs => %(kept_seconds)s)
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING 1
