-- Returns the newest rejected envelopes, newest first.
SELECT received_at, runtime, code, reason, body FROM rejected_envelopes
ORDER BY received_at DESC, id LIMIT %(limit)s
