-- Reads the newest jobs of all workspaces; a filter that is NULL lets every job pass. Those of each
-- workspace and status are read by themselves, as an index has them.
SELECT job.id, workspace_id, lower(status::text) AS status, attempt, error->>'code' AS code,
    created_at, params->>'prompt' AS prompt
FROM (
    SELECT found.id
    FROM workspaces
    CROSS JOIN unnest(coalesce(%(statuses)s::job_status[], enum_range(NULL::job_status))) AS wanted
    CROSS JOIN LATERAL (
        SELECT id, created_at FROM generation_jobs
        WHERE workspace_id = workspaces.id AND status = wanted
            AND (%(product_id)s IS NULL OR product_id = %(product_id)s)
            AND (%(model)s IS NULL OR model = %(model)s)
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) found
    ORDER BY found.created_at DESC, found.id DESC LIMIT %(limit)s
) newest JOIN generation_jobs job USING (id)
ORDER BY created_at DESC, job.id DESC
