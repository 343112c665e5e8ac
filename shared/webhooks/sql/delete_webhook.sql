-- Deletes a webhook. Its deliveries are sent no more; the housekeeping deletes them.
DELETE FROM webhooks WHERE id = %(id)s AND workspace_id = %(workspace_id)s RETURNING 1
