-- Lets a delivery be sent again now, with a schedule anew. No row: no webhook of the workspace, or of
-- any (NULL), has it.
UPDATE webhook_deliveries delivery SET
    next_try_at = now(), tries = 0, delivered_at = NULL, status_code = NULL, error = NULL
FROM webhooks
WHERE webhooks.id = delivery.webhook_id AND delivery.id = %(id)s
    AND (%(workspace_id)s IS NULL OR workspace_id = %(workspace_id)s)
RETURNING delivery.id, delivery.number, delivery.job_id, delivery.event, delivery.created_at,
    delivery.tries, delivery.next_try_at, delivery.delivered_at, delivery.status_code,
    delivery.error
