"""The Celery application: `celery -A local.celery_app worker`.

Made at import, as Celery wants it; the settings are read then. No connection is opened here. The
names of the queues stand in `shared.adapters.celery_broker`.
"""

import gc
import logging
import sys
from typing import Any

import structlog
from celery import Celery, signals
from celery.concurrency import get_implementation
from celery.utils.log import get_multiprocessing_logger
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from local.open_files import raise_open_files
from local.worker.heartbeat import HeartbeatStep
from local.worker.silence import SilenceStep
from local.worker.steps import SweepStep
from shared import tracing
from shared.adapters.celery_broker import (
    LEFTOVERS_TASK_NAME,
    broker_url,
    queue_names,
    result_backend_url,
)
from shared.errors import ConfigurationError, one_line
from shared.logs import configure_logging
from shared.settings import BROKER_VISIBILITY_TIMEOUT_SECONDS, Settings, load_settings
from shared.terminal import printable

MAINTENANCE_SECONDS = 3600.0

# A name of its own: kombu cannot parse, and so not censor, an address that begins with a class.
RESULT_BACKENDS = {"darkroom": "local.worker.result_backend:ReadOnlyRedisBackend"}

BROKER_SOCKET_TIMEOUT_SECONDS = 3.0
"""A frozen Redis must not hold up the event loop for long; kombu's own blocking read lasts 1 s."""


_TRANSPORT_OPTIONS = {
    # One hour, longer than any attempt and any delay: messages come back through the sweep.
    "visibility_timeout": BROKER_VISIBILITY_TIMEOUT_SECONDS,
    "socket_timeout": BROKER_SOCKET_TIMEOUT_SECONDS,
    "socket_connect_timeout": 3.0,
    # Notices a peer that is gone although the connection looks open.
    "socket_keepalive": True,
    "health_check_interval": 25,
}


_BEAT = {
    "beat_scheduler": "local.worker.heartbeat:BeatScheduler",
    "beat_schedule": {
        "delete leftovers": {
            "task": LEFTOVERS_TASK_NAME,
            "schedule": MAINTENANCE_SECONDS,
            # One that no worker took expires when the next is sent.
            "options": {"expires": MAINTENANCE_SECONDS},
        }
    },
    "timezone": "UTC",
    "enable_utc": True,
}


def _load_settings() -> Settings:
    try:
        return load_settings()
    except ConfigurationError as error:
        sys.exit(f"darkroom: {printable(one_line(str(error)))}")


def _configuration(settings: Settings) -> dict[str, Any]:
    queues = queue_names(settings.queue_prefix)
    transport = {**_TRANSPORT_OPTIONS, "global_keyprefix": settings.redis_prefix}
    return {
        # Jobs and maintenance apart; a worker consumes both by default.
        "task_queues": tuple(Queue(name, Exchange(name), routing_key=name) for name in queues),
        "task_default_queue": queues[1],
        "task_create_missing_queues": False,
        # JSON only: a message can never run code.
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        # A message is done when its job is settled; duplicates are refused by the claim.
        "task_acks_late": True,
        # Requeueing what killed its worker loops without end; the parent hands the row back.
        "task_reject_on_worker_lost": False,
        # The same for what reached the hard limit.
        "task_acks_on_failure_or_timeout": True,
        # Raised in the child at the soft limit, SIGKILL for the child at the hard one.
        "task_soft_time_limit": settings.soft_time_limit,
        "task_time_limit": settings.time_limit,
        # The records are written by the event script, see local.worker.result_backend.
        "task_ignore_result": True,
        "result_expires": settings.event_ttl_seconds,
        # Rejects garbage over which Celery's own would end.
        "worker_consumer": "local.worker.envelopes:EnvelopeConsumer",
        # Gives work to every free child, whatever happened to Redis.
        "worker_pool": "local.worker.pool:ChildrenPool",
        # A worker holds no message that another could be running.
        "worker_prefetch_multiplier": 1,
        # A child is replaced now and then, against slow leaks.
        "worker_max_tasks_per_child": 1000,
        # Losing the broker must not throw away a running provider call.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Wait for Redis as long as it takes, at the start and later.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Also for a Redis that answers, but is full, read-only or has failed over.
        "broker_channel_error_retry": True,
        "broker_transport_options": transport,
        "result_backend_transport_options": transport,
        "visibility_timeout": BROKER_VISIBILITY_TIMEOUT_SECONDS,
        # Our logging, not Celery's: one JSON object a line.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # No one consumes task events by default; Flower turns them on itself.
        "worker_send_task_events": False,
        **_BEAT,
    }


def create_app(settings: Settings) -> Celery:
    """Return the application, configured, with its tasks and worker steps."""
    app = Celery(
        "darkroom",
        broker=broker_url(settings.redis_url),
        backend=result_backend_url(settings.redis_url, *RESULT_BACKENDS),
        include=["local.worker.tasks", "local.worker.maintenance_tasks"],
    )
    app.loader.override_backends = RESULT_BACKENDS
    app.conf.update(_configuration(settings))
    app.darkroom_settings = settings
    app.steps["worker"].add(SweepStep)
    app.steps["consumer"].update({HeartbeatStep, SilenceStep})
    return app


@signals.worker_init.connect
def _load_job_code(sender: Any, **_options: Any) -> None:
    # At the start of a worker alone: a beat, and a program that sends tasks, need none of it.
    from local.worker.memory import load_job_code
    from local.worker.pool import ChildrenPool

    if get_implementation(sender.pool_cls) is not ChildrenPool:
        sys.exit("darkroom: jobs need processes of their own; start the worker without -P, --pool")
    raise_open_files()
    try:
        load_job_code(celery_app.darkroom_settings)
    except ConfigurationError as error:
        sys.exit(f"darkroom: {printable(one_line(str(error)))}")


@signals.setup_logging.connect
def _set_up_logging(**_options: Any) -> None:
    configure_logging("celery", celery_app.darkroom_settings.log_level)
    # billiard's logger does not propagate its lines by default.
    get_multiprocessing_logger().propagate = True
    get_multiprocessing_logger().setLevel(logging.WARNING)
    # The handler and the sweep already log what these do, with all ids of the job.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("celery.worker.request").setLevel(logging.CRITICAL)


@signals.worker_process_shutdown.connect
def _export_spans(**_options: Any) -> None:
    tracing.flush()


@signals.task_prerun.connect
def _bind_ids(task_id: str, args: Any = (), **_options: Any) -> None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        job_id=str(args[0])[:64] if args else None, task_id=task_id
    )


@signals.task_postrun.connect
def _forget_task(**_options: Any) -> None:
    structlog.contextvars.clear_contextvars()
    # Costs 0.1 ms, as what the parent made is frozen. A cycle may hold some pictures of the job.
    gc.collect()


# kombu chooses the transport by the scheme of the address, and by nothing else.
_TRANSPORT = "local.worker.envelopes:EnvelopeTransport"
TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = _TRANSPORT

celery_app = create_app(_load_settings())
