-- Takes deliveries that are due, for `lease_seconds`: at most `a_receiver` of each receiver, one of
-- a receiver that fails, none of those in `busy`. One that comes behind another of the same job is
-- put off. A sender that dies leaves its deliveries to be taken again. The scan visits `receivers`
-- with deliveries that wait, behind `after`. Always returns a row, which says where it ended
-- unless it saw the last receiver.
WITH RECURSIVE receivers (receiver, number) AS (
    SELECT %(after)s::varchar, 0
    UNION ALL
    SELECT (
        SELECT receiver FROM webhook_deliveries
        WHERE next_try_at IS NOT NULL AND receiver > before.receiver
        ORDER BY receiver LIMIT 1
    ), number + 1
    FROM receivers before
    WHERE before.receiver IS NOT NULL AND number < %(receivers)s
), webhook_of AS (
    SELECT receiver, webhooks.id, failing_since
    FROM receivers JOIN webhooks ON webhooks.id = nullif(left(receiver, 36), '')::uuid
    WHERE number > 0 AND disabled_at IS NULL AND NOT receiver = ANY(%(busy)s)
), due AS (
    SELECT head.* FROM webhook_of CROSS JOIN LATERAL (
        SELECT delivery.number, delivery.next_try_at, (
            SELECT min(earlier.next_try_at) FROM webhook_deliveries earlier
            WHERE earlier.job_id = delivery.job_id AND earlier.webhook_id = webhook_of.id
                AND earlier.number < delivery.number AND earlier.next_try_at IS NOT NULL
        ) AS behind
        FROM webhook_deliveries delivery
        WHERE delivery.receiver = webhook_of.receiver AND delivery.next_try_at <= now()
        ORDER BY delivery.next_try_at, delivery.number
        LIMIT CASE WHEN webhook_of.failing_since IS NULL THEN %(a_receiver)s ELSE 1 END
    ) head
), locked AS (
    -- By number: joined, all that waits would be read. Some may be locked by another sender.
    SELECT number FROM webhook_deliveries
    WHERE number = ANY(ARRAY(
        SELECT number FROM due ORDER BY next_try_at, number LIMIT 2 * %(limit)s
    )) AND next_try_at <= now()
    ORDER BY next_try_at, number LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE webhook_deliveries delivery SET
        tries = tries + CASE WHEN behind IS NULL THEN 1 ELSE 0 END,
        next_try_at = CASE
            WHEN behind IS NULL THEN now() + make_interval(secs => %(lease_seconds)s)
            WHEN behind < now() + make_interval(secs => %(lease_seconds)s + 1)
                THEN now() + interval '1 second'
            ELSE behind END
    FROM due
    WHERE due.number = delivery.number
        AND delivery.number = ANY(ARRAY(SELECT number FROM locked))
    RETURNING delivery.*, behind
)
SELECT taken.*, taken.behind IS NOT NULL AS is_put_off, coalesce(taken.url, webhooks.url) AS address,
    webhooks.workspace_id, webhooks.secret,
    CASE WHEN previous_secret_until > now() THEN previous_secret END AS previous_secret,
    (SELECT max(receiver) FROM receivers HAVING max(number) >= %(receivers)s) AS scanned_to
FROM (SELECT) one LEFT JOIN (taken JOIN webhooks ON webhooks.id = taken.webhook_id) ON true
ORDER BY taken.number
