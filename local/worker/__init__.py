"""The Celery worker: its tasks, its children and the sweep in its main process."""
