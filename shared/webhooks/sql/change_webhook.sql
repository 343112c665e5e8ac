-- Changes a webhook: what is NULL stays. A new secret leaves the one before valid for a time. No
-- row: the workspace has none of this id.
UPDATE webhooks SET
    url = coalesce(%(url)s::varchar, url), events = coalesce(%(events)s::varchar[], events),
    secret = coalesce(%(secret)s::varchar, secret),
    previous_secret = CASE WHEN %(secret)s::varchar IS NULL THEN previous_secret ELSE secret END,
    previous_secret_until = CASE WHEN %(secret)s::varchar IS NULL THEN previous_secret_until
        ELSE now() + make_interval(secs => %(overlap_seconds)s) END,
    failing_since = CASE WHEN %(is_enabled)s::boolean THEN NULL ELSE failing_since END,
    disabled_at = CASE %(is_enabled)s::boolean WHEN true THEN NULL
        WHEN false THEN coalesce(disabled_at, now()) ELSE disabled_at END,
    disabled_reason = CASE %(is_enabled)s::boolean WHEN true THEN NULL
        WHEN false THEN coalesce(disabled_reason, %(reason)s) ELSE disabled_reason END
WHERE id = %(id)s AND workspace_id = %(workspace_id)s
RETURNING *
