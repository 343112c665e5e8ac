"""Every Redis key and channel of the events. Each key gets its TTL whenever it is written."""

CELERY_RECORD_PREFIX = "celery-task-meta-"
"""Where Celery's result backends look (celery/backends/base.py, `task_keyprefix`)."""

WORKER_SEEN = "worker_seen"
"""Written by the main process of each Celery worker after each sweep; gone soon after its end."""


def channel(task_id: str) -> str:
    """Return the channel that each event is published on."""
    return f"task_updates:{task_id}"


def stream(task_id: str) -> str:
    """Return the stream that keeps the events; its entry ids are the event ids."""
    return f"task_events:{task_id}"


def fence(task_id: str) -> str:
    """Return the hash with what was written last: token, sequence, progress, end, cancel."""
    return f"task_fence:{task_id}"


def celery_record(task_id: str) -> str:
    """Return the key and channel of the result record that `AsyncResult` reads."""
    return f"{CELERY_RECORD_PREFIX}{task_id}"
