-- Deletes all rejected envelopes.
DELETE FROM rejected_envelopes RETURNING 1
