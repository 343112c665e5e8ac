-- Finds jobs that recovery should have moved on by now, the longest first, with the reason: no
-- worker sweeps, or none takes jobs.
SELECT id AS job_id, workspace_id, reason, extract(epoch FROM now() - since)::int AS seconds
FROM (
    SELECT id, workspace_id, 'lease expired' AS reason, lease_until AS since
    FROM generation_jobs WHERE status = 'PROCESSING'
    UNION ALL
    SELECT id, workspace_id, 'cancel not obeyed', cancel_requested_at
    FROM generation_jobs WHERE status = 'PROCESSING' AND cancel_requested_at IS NOT NULL
    UNION ALL
    SELECT id, workspace_id, 'envelope not taken', dispatched_at
    FROM generation_jobs WHERE status = 'PENDING' AND dispatched_at IS NOT NULL
    UNION ALL
    SELECT id, workspace_id, 'retry overdue', next_attempt_at
    FROM generation_jobs
    WHERE status = 'PENDING' AND dispatched_at IS NULL AND next_attempt_at IS NOT NULL
    UNION ALL
    SELECT id, workspace_id, 'end not announced', finished_at
    FROM generation_jobs WHERE finished_at IS NOT NULL AND announced_at IS NULL
) open
WHERE since < now() - make_interval(secs => %(seconds)s)
ORDER BY since LIMIT %(limit)s
