"""Every Redis key and channel of the events. Each write renews the TTL of its key."""

CELERY_RECORD_PREFIX = "celery-task-meta-"
"""Where Celery's result backends look (celery/backends/base.py, `task_keyprefix`)."""


def channel(task_id: str) -> str:
    """Return the channel that the events are published on."""
    return f"task_updates:{task_id}"


def stream(task_id: str) -> str:
    """Return the stream of the events; its entry ids are the event ids."""
    return f"task_events:{task_id}"


def fence(task_id: str) -> str:
    """Return the hash that the script decides by: token, sequence, attempt, end, cancel."""
    return f"task_fence:{task_id}"


def celery_record(task_id: str) -> str:
    """Return the key and channel of the result record that `AsyncResult` reads."""
    return f"{CELERY_RECORD_PREFIX}{task_id}"
