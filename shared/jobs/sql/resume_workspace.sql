-- Ends the pause of a workspace; no row: it is not paused.
UPDATE workspace_limits SET paused_at = NULL
WHERE workspace_id = %(workspace_id)s AND paused_at IS NOT NULL
RETURNING 1
