-- Inserts a webhook; no row: the workspace has as many as it may. Of two without `url`, the unique
-- index refuses the second.
INSERT INTO webhooks (workspace_id, url, events, secret)
SELECT %(workspace_id)s, %(url)s, %(events)s, %(secret)s
WHERE (SELECT count(*) FROM webhooks WHERE workspace_id = %(workspace_id)s) < %(limit)s
RETURNING *
