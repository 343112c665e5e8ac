-- Counts the jobs of a user that have not ended, up to a limit.
SELECT count(*) AS jobs FROM (
    SELECT FROM generation_jobs
    WHERE workspace_id = %(workspace_id)s AND user_id = %(user_id)s
        AND status IN ('PENDING', 'PROCESSING')
    LIMIT %(user_open_jobs)s
) job
