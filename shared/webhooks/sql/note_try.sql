-- Notes how a try of a delivery ended: delivered, due again after `delay_seconds`, or given up
-- (NULL). Changes nothing if it was taken again since. Its webhook is disabled if the receiver is
-- gone, or if it is given up and none was delivered for `failing_seconds`; a receiver that a request
-- has named gets no more of that job instead. Returns the webhook if it changed.
WITH noted AS (
    UPDATE webhook_deliveries SET
        status_code = %(status_code)s, error = %(error)s,
        delivered_at = CASE WHEN %(is_delivered)s THEN now() END,
        next_try_at = now() + make_interval(secs => %(delay_seconds)s)
    WHERE number = %(number)s AND tries = %(tries)s
    RETURNING number, webhook_id, job_id, created_at, url
), dropped AS (
    UPDATE webhook_deliveries later SET next_try_at = NULL, error = %(error)s
    FROM noted
    WHERE %(is_gone)s AND noted.url IS NOT NULL AND later.webhook_id = noted.webhook_id
        AND later.job_id = noted.job_id AND later.number > noted.number
        AND later.next_try_at IS NOT NULL
)
UPDATE webhooks SET
    failing_since = CASE WHEN NOT %(is_delivered)s THEN coalesce(failing_since, now()) END,
    disabled_at = CASE WHEN is_over THEN now() END,
    disabled_reason = CASE WHEN is_over THEN %(error)s END
FROM (
    SELECT webhooks.id, %(is_gone)s OR %(is_given_up)s AND coalesce(
            failing_since < now() - make_interval(secs => %(failing_seconds)s), false
        ) AS is_over
    FROM webhooks JOIN noted ON webhooks.id = noted.webhook_id
    WHERE webhooks.url IS NOT NULL
) found
WHERE webhooks.id = found.id AND disabled_at IS NULL
    AND (is_over OR (failing_since IS NULL) = NOT %(is_delivered)s)
RETURNING webhooks.id, workspace_id, disabled_at, disabled_reason
