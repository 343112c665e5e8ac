"""The local runtime: a real Celery worker, embedded servers and the command line."""
