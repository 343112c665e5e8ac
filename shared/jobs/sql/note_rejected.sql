-- Keeps a rejected envelope, and at most `kept` of those before it.
WITH noted AS (
    INSERT INTO rejected_envelopes (runtime, code, reason, body)
    VALUES (%(runtime)s, %(code)s, %(reason)s, %(body)s)
)
DELETE FROM rejected_envelopes WHERE id IN (
    SELECT id FROM rejected_envelopes ORDER BY received_at DESC, id OFFSET %(kept)s
)
