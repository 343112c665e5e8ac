"""Run in a process of its own: what the code says of itself once it is imported, as JSON.

`python -m cli.doctor.probe celery` tells how Celery is configured, and
`python -m cli.doctor.probe functions.worker.handler ...` which handlers can be imported. A
process of its own, because those modules read the settings and open the runtimes' libraries.
"""

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

CELERY_OPTIONS = (
    "accept_content",
    "broker_connection_max_retries",
    "broker_connection_retry_on_startup",
    "broker_transport_options",
    "result_backend_transport_options",
    "task_acks_late",
    "task_acks_on_failure_or_timeout",
    "task_create_missing_queues",
    "task_default_queue",
    "task_ignore_result",
    "task_reject_on_worker_lost",
    "task_soft_time_limit",
    "task_time_limit",
    "visibility_timeout",
    "worker_cancel_long_running_tasks_on_connection_loss",
    "worker_prefetch_multiplier",
)


def describe_celery() -> dict[str, Any]:
    """Return the configuration of the Celery application, its queues and its job's task."""
    from local.celery_app import celery_app
    from shared.adapters.celery_broker import TASK_NAME

    celery_app.loader.import_default_modules()
    conf = celery_app.conf
    task = celery_app.tasks.get(TASK_NAME)
    return {
        **{name: conf[name] for name in CELERY_OPTIONS},
        "queues": [queue.name for queue in conf.task_queues],
        "task": None if task is None else TASK_NAME,
        "retry_backoff_max": getattr(task, "retry_backoff_max", None),
        "never_retried": [error.__name__ for error in getattr(task, "dont_autoretry_for", ())],
    }


def describe_handlers(paths: Sequence[str]) -> dict[str, str | None]:
    """Return, for each handler, why it cannot be imported; None if it can."""
    return {path: _find_fault(path) for path in paths}


def _find_fault(path: str) -> str | None:
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        return f"cannot be imported: {error}"
    return None if callable(getattr(module, name, None)) else f"{module_name} has no {name}"


def main(arguments: Sequence[str]) -> None:
    """Print what the arguments ask for."""
    told = describe_celery() if arguments[0] == "celery" else describe_handlers(arguments)
    sys.stdout.write(f"{json.dumps(told, default=str)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
