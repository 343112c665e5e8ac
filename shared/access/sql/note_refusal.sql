-- Notes why what a row of the audit is about was not done.
UPDATE audit SET error = %(error)s WHERE number = %(number)s
