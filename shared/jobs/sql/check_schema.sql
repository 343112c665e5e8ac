-- Reads from the newest table: fails where the schema is older than this version.
SELECT 1 FROM previews LIMIT 1
