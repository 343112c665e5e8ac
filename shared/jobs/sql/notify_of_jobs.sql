-- Notifies the workers at the commit that a job waits; see migration 0022.
SELECT pg_notify('darkroom_jobs', '')
