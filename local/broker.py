"""What every Celery application of this project knows of the broker: names and addresses."""

TASK_NAME = "generate_images_task"
JOB_QUEUE = "image_generation"
MAINTENANCE_QUEUE = "default"


def broker_url(redis_url: str) -> str:
    """Return the address of Redis as kombu writes it."""
    return _with_socket_scheme(redis_url)


def result_backend_url(redis_url: str) -> str:
    """Return the address of Redis as Celery's result backends write it."""
    return _with_socket_scheme(redis_url).replace("redis+socket://", "socket://", 1)


def _with_socket_scheme(redis_url: str) -> str:
    # kombu and Celery call a Unix socket redis+socket:// and name the database virtual_host.
    if not redis_url.startswith("unix://"):
        return redis_url
    return redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
