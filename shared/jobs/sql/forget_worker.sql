-- Stops counting a worker's slots, and forgets workers that expired a day ago.
DELETE FROM workers WHERE owner = %(owner)s OR expires_at < now() - interval '1 day'
