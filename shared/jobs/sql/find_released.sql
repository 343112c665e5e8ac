-- Returns the oldest envelopes of a runtime that have not led to a claim yet, with the number of
-- its jobs that run.
SELECT id, envelope_id, dispatches, extract(epoch FROM now() - dispatched_at)::float AS age,
    (SELECT count(*) FROM generation_jobs
        WHERE status = 'PROCESSING' AND time_limit_at > now() AND coalesce(released_to, %(runtime)s) = %(runtime)s
    ) AS running
FROM generation_jobs
WHERE status = 'PENDING' AND dispatched_at < now() - make_interval(secs => %(older_than)s)
    AND coalesce(released_to, %(runtime)s) = %(runtime)s
ORDER BY dispatched_at LIMIT %(limit)s
