-- Lets one request of a workspace at a time count and insert, until its transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended(%(workspace_id)s, 7))
