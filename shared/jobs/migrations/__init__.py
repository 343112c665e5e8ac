"""The schema's history, run by `shared.jobs.migration`."""
