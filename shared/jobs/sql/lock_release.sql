-- Lets one process at a time count the free slots of a runtime and fill them, until its
-- transaction ends; with limits of providers, which all runtimes share, one process of all. Does
-- not wait where no slot is free.
SELECT pg_advisory_xact_lock(hashtextextended(%(release_lock)s, 13))
FROM release_room WHERE runtime = %(runtime)s AND free > 0
