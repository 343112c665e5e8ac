"""Metrics of the local runtime: those of all jobs, and the lengths of Celery's queues."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import structlog
from redis import RedisError

from shared.adapters.celery_broker import TASK_NAME, queue_names
from shared.wiring import Services

if TYPE_CHECKING:
    from shared.metrics.store import Sample

log = structlog.get_logger(__name__)


def start_metrics(
    services: Services,
    count_streams: Callable[[], int] | None = None,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Serve metrics beside a program, if METRICS_PORT is set.

    Args:
        services: Of the threads of the program.
        count_streams: Returns how many event streams the process has open, if it is an API.
        around: Entered for each read.
    """
    settings = services.settings
    if settings.metrics_port is None:
        return
    # Imported where it is on.
    from shared.metrics.server import Exporter, start_beside
    from shared.metrics.store import Sample

    def read_own() -> "Iterator[Sample]":
        if count_streams is not None:
            yield Sample("darkroom_event_streams", {}, count_streams())
        try:
            for queue in queue_names(settings.queue_prefix):
                key = f"{settings.redis_prefix}{queue}"
                length = int(services.redis.llen(key))  # type: ignore[arg-type] # never a future
                yield Sample("celery_queue_length", {"queue_name": queue}, length)
        except RedisError as error:
            log.warning("queues not measured", reason=str(error))

    exporter = Exporter(services.metrics.read, lambda: [*read_own()], TASK_NAME, around)
    start_beside(settings.metrics_host, settings.metrics_port, exporter)
