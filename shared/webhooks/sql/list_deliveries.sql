-- Reads the deliveries of a webhook of a workspace, newest first, those before a number.
SELECT delivery.id, delivery.number, delivery.job_id, delivery.event, delivery.created_at,
    delivery.tries, delivery.next_try_at, delivery.delivered_at, delivery.status_code,
    delivery.error
FROM webhook_deliveries delivery JOIN webhooks ON webhooks.id = delivery.webhook_id
WHERE webhook_id = %(webhook_id)s AND workspace_id = %(workspace_id)s
    AND (%(before)s::bigint IS NULL OR number < %(before)s)
ORDER BY number DESC LIMIT %(limit)s
