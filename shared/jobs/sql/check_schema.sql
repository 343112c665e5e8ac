-- Names the newest tables with columns that only ours have: fails where the schema is older than
-- this version, or where the tables are another program's. Reads no rows.
SELECT jobs.lease_token, jobs.released_to, lines.purchases, deliveries.next_try_at, windows.began_at,
    keys.scopes, audit.target
FROM generation_jobs jobs, generation_attempts lines, webhook_deliveries deliveries,
    submission_windows windows, api_keys keys, audit
WHERE false
