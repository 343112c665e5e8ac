"""Events: what clients see of a job, written and read through Redis."""
