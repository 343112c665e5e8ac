"""The local runtime: the Celery worker and the HTTP API under uvicorn."""
