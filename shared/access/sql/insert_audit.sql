-- Inserts a row of the audit, before what it is about is done.
INSERT INTO audit (who, action, target, details)
VALUES (%(who)s, %(action)s, %(target)s, %(details)s)
RETURNING number
