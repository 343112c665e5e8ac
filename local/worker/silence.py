"""A connection that has fallen silent: Redis answers others, but not the read for messages.

Firewalls forget connections, and machines are lost, without a word to either side. Celery's event
loop then waits for ever: kombu has its blocking read bounded by Redis, which it never reached.
Where Redis is frozen, an acknowledgement is lost: kombu then counts the message as held, and a
worker that holds as many as it may asks for no more.
"""

import threading
from typing import Any

import structlog
from celery import bootsteps
from redis import RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.events.connection import connect_redis

SILENT_SECONDS = 5.0
"""kombu asks Redis to answer within a second, with or without a message."""

LOOK_SECONDS = 1.0

log = structlog.get_logger(__name__)


class SilenceStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Ends a connection that was silent, or lost an answer; the worker then makes a new one.

    While Redis answers no one, as when it is frozen, the connection stays: a read that Redis may
    still answer loses no message, and the event loop need not wait for Redis.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **_options: Any) -> None:
        super().__init__(consumer)
        self._url: str = consumer.app.darkroom_settings.redis_url
        self._answers = threading.Event()
        self._asking: threading.Thread | None = None

    def start(self, consumer: Any) -> None:
        """Start looking; a step of the consumer is started anew with each connection."""
        self._answers.clear()
        consumer.timer.call_repeatedly(LOOK_SECONDS, self._look, (consumer,))

    def _look(self, consumer: Any) -> None:
        channel = consumer.task_consumer.channel
        if channel.silent_seconds < SILENT_SECONDS and not channel.has_lost_answer:
            self._answers.clear()
        elif self._answers.is_set():
            # Celery's event loop takes it for a lost connection, and connects anew.
            raise RedisConnectionError("a connection has lost what Redis answered")
        elif self._asking is None or not self._asking.is_alive():
            # In a thread: Redis may be frozen, and the event loop must not wait for it.
            self._asking = threading.Thread(target=self._ask, daemon=True)
            self._asking.start()

    def _ask(self) -> None:
        with connect_redis(self._url) as redis:
            try:
                redis.ping()
            except RedisError as error:
                log.debug("Redis does not answer", reason=str(error))
            else:
                self._answers.set()
