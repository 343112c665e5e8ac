-- Sums up how the newest attempts of each provider ended within some seconds, no more than `limit`.
-- `code` and `message` are those of its last failure.
SELECT provider, count(*) AS attempts, count(*) FILTER (WHERE outcome <> 'completed') AS failed,
    avg(extract(epoch FROM finished_at - started_at)) FILTER (WHERE outcome = 'completed')::float
        AS mean_seconds,
    (array_agg(error->>'code' ORDER BY finished_at DESC) FILTER (WHERE error IS NOT NULL))[1]
        AS code,
    (array_agg(error->>'message' ORDER BY finished_at DESC) FILTER (WHERE error IS NOT NULL))[1]
        AS message
FROM (
    SELECT provider, outcome, error, started_at, finished_at FROM generation_attempts
    WHERE finished_at >= now() - make_interval(secs => %(seconds)s)
    ORDER BY finished_at DESC LIMIT %(limit)s
) line
WHERE provider IS NOT NULL AND error->>'code' IS DISTINCT FROM 'cancelled'
GROUP BY provider
ORDER BY provider
