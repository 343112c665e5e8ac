"""Putting envelopes on Celery's queue, through a producer that waits for nobody."""

from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.adapters.celery_broker import JOB_QUEUE, TASK_NAME, broker_url
from shared.errors import ServiceUnavailable
from shared.events import keys
from shared.events.connection import connect_redis
from shared.settings import Settings

SOCKET_TIMEOUT_SECONDS = 1.0


class CeleryDispatcher:
    """Sends `generate_images_task` messages; implements `shared.jobs.dispatcher.Dispatcher`.

    A Celery application of its own, without a result backend: with one, each send would open a
    pub/sub channel, and a dead Redis would block the sender for 19 seconds.
    """

    def __init__(self, settings: Settings) -> None:
        self._redis = connect_redis(settings.redis_url)
        self._producer = Celery(
            "darkroom-producer",
            broker=broker_url(settings.redis_url),
            set_as_current=False,
        )
        self._producer.conf.update(
            task_ignore_result=True,
            task_publish_retry=False,
            broker_pool_limit=2,
            broker_connection_timeout=SOCKET_TIMEOUT_SECONDS,
            broker_transport_options={
                "socket_timeout": SOCKET_TIMEOUT_SECONDS,
                "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
                "socket_keepalive": True,
            },
        )

    def dispatch(self, job_id: UUID, task_id: str, delay_seconds: float = 0) -> None:
        """Send the envelope under the job's task id; see the port."""
        try:
            self._producer.send_task(
                TASK_NAME,
                args=[str(job_id)],
                task_id=task_id,
                queue=JOB_QUEUE,
                countdown=delay_seconds or None,
            )
        except (OperationalError, RedisError, OSError) as error:
            raise ServiceUnavailable(f"Celery's broker: {error}"[:200]) from error

    def check(self) -> None:
        """Ask the broker whether a worker was seen lately; see the port."""
        try:
            seen = self._redis.exists(keys.WORKER_SEEN)
        except RedisError as error:
            raise ServiceUnavailable(f"Celery's broker: {error}"[:200]) from error
        if not seen:
            raise ServiceUnavailable("Celery: no worker was seen lately")
