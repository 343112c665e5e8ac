"""Puts envelopes on Celery's queue, without waiting for a frozen Redis."""

from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.pools import ProducerPool
from redis.exceptions import RedisError

from shared.adapters.celery_broker import JOB_QUEUE, TASK_NAME, broker_url
from shared.errors import ServiceUnavailable
from shared.events import keys
from shared.events.connection import connect_redis
from shared.settings import Settings

SOCKET_TIMEOUT_SECONDS = 1.0
CONNECTIONS = 2


class CeleryDispatcher:
    """Sends `generate_images_task` messages; implements `shared.jobs.dispatcher.Dispatcher`.

    A Celery application of its own, without a result backend: with one, each send would open a
    pub/sub channel, and a dead Redis would block the sender for 19 seconds.
    """

    def __init__(self, settings: Settings) -> None:
        self._redis = connect_redis(settings.redis_url)
        self._app = Celery(
            "darkroom-producer",
            broker=broker_url(settings.redis_url),
            set_as_current=False,
        )
        self._app.conf.update(
            task_publish_retry=False,
            broker_connection_timeout=SOCKET_TIMEOUT_SECONDS,
            broker_transport_options={
                "socket_timeout": SOCKET_TIMEOUT_SECONDS,
                "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
                "socket_keepalive": True,
            },
        )
        # Not Celery's pool: its limit holds for every application of the process, and to lower it
        # while a connection is in use is an error.
        connections = self._app.connection_for_write().Pool(limit=CONNECTIONS)
        self._producers = ProducerPool(connections, limit=CONNECTIONS)

    def dispatch(self, job_id: UUID, task_id: str, delay_seconds: float = 0) -> None:
        """Send the envelope under the job's task id; see the port."""
        amqp = self._app.amqp
        message = amqp.create_task_message(
            task_id, TASK_NAME, [str(job_id)], {}, countdown=delay_seconds or None
        )
        try:
            with self._producers.acquire(block=True) as producer:
                amqp.send_task_message(producer, TASK_NAME, message, queue=JOB_QUEUE)
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
