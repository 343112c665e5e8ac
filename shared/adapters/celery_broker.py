"""Celery's queues: their names, the name of the task, and the address of the broker."""

TASK_NAME = "generate_images_task"
LEFTOVERS_TASK_NAME = "delete_leftovers_task"
OWN_TASKS = frozenset({TASK_NAME, LEFTOVERS_TASK_NAME})
JOB_QUEUE = "image_generation"
MAINTENANCE_QUEUE = "default"
QUEUES = (JOB_QUEUE, MAINTENANCE_QUEUE)
"""All that a worker consumes; QUEUE_PREFIX goes before each."""


def queue_names(prefix: str) -> tuple[str, str]:
    """Return the names of the queues, of jobs and of maintenance, after QUEUE_PREFIX."""
    return f"{prefix}{JOB_QUEUE}", f"{prefix}{MAINTENANCE_QUEUE}"


def broker_url(redis_url: str) -> str:
    """Return the address of Redis as kombu and Celery's own result backend write it."""
    if redis_url.startswith("rediss://") and "ssl_cert_reqs=" not in redis_url:
        # redis-py checks certificates by default; Celery refuses to guess (backends/
        # redis.py), and kombu would check none.
        separator = "&" if "?" in redis_url else "?"
        return f"{redis_url}{separator}ssl_cert_reqs=required"
    # They call a Unix socket redis+socket:// and name the database virtual_host.
    if not redis_url.startswith("unix://"):
        return redis_url
    return redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")


def result_backend_url(redis_url: str, backend: str) -> str:
    """Return the address of Redis for a result backend, by its name."""
    return f"{backend}+{broker_url(redis_url).removeprefix('redis+')}"
