-- Lets the deliveries of a webhook that were made in the last `seconds` and given up, or also those
-- that were delivered, be sent again now, with a schedule anew. Those that wait are left alone.
UPDATE webhook_deliveries SET
    next_try_at = now(), tries = 0, delivered_at = NULL, status_code = NULL, error = NULL
WHERE webhook_id = %(webhook_id)s AND next_try_at IS NULL
    AND created_at >= now() - make_interval(secs => %(seconds)s)
    AND (delivered_at IS NULL OR %(with_delivered)s)
RETURNING 1
