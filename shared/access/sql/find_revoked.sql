-- Finds those of some API keys that are not valid any more.
SELECT given.id FROM unnest(%(ids)s::text[]) AS given (id)
WHERE NOT EXISTS (SELECT FROM api_keys WHERE api_keys.id = given.id AND revoked_at IS NULL)
