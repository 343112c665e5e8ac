-- Reads rows of the audit, the newest first, those before a number.
SELECT number, at, who, action, target, details, error FROM audit
WHERE %(before)s::bigint IS NULL OR number < %(before)s
ORDER BY number DESC LIMIT %(limit)s
