"""Puts envelopes on Celery's queue, without waiting for a frozen Redis.

The names of the queues stand in `celery_broker`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.pools import ProducerPool
from redis.exceptions import RedisError

from shared.adapters.celery_broker import JOB_QUEUE, OWN_TASKS, TASK_NAME, broker_url, queue_names
from shared.errors import ServiceUnavailable, one_line
from shared.events.connection import connect_redis
from shared.jobs.release_store import OpenEnvelope
from shared.settings import Settings

SOCKET_TIMEOUT_SECONDS = 1.0
CONNECTIONS = 2

UNACKED = "unacked"
"""Where kombu keeps what workers hold (kombu/transport/redis.py, `unacked_key`)."""

MESSAGES_READ = 20_000
"""Of the queue, when envelopes are missed. It is never that long by what is released here."""

LOOKED_AT = 500
"""Messages of a queue among which those of other applications are looked for."""

WORKERS_ANSWER_SECONDS = 1.0

HELD_AT_MOST_SECONDS = 10.0
"""Between a worker's taking an envelope and the claim of its job."""


class CeleryDispatcher:
    """Sends `generate_images_task` messages; implements `shared.jobs.dispatcher.Dispatcher`.

    A Celery application of its own, without a result backend: with one, each send would open a
    pub/sub channel, and a dead Redis would block the sender for 19 seconds.
    """

    def __init__(self, settings: Settings) -> None:
        self._redis = connect_redis(settings.redis_url)
        self._prefix = settings.redis_prefix
        self._queue = f"{settings.queue_prefix}{JOB_QUEUE}"
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
                "global_keyprefix": self._prefix,
            },
        )
        # Not Celery's pool: its limit holds for every application of the process, and to lower it
        # while a connection is in use is an error.
        self._connections = self._app.connection_for_write().Pool(limit=CONNECTIONS)
        self._producers = ProducerPool(self._connections, limit=CONNECTIONS)

    def close(self) -> None:
        """Close the connections that were made."""
        self._producers.force_close_all()
        self._connections.force_close_all()
        self._redis.close()

    def dispatch(self, job_id: UUID, envelope_id: str) -> None:
        """Send the envelope; see the port."""
        amqp = self._app.amqp
        message = amqp.create_task_message(envelope_id, TASK_NAME, [str(job_id)], {})
        try:
            with self._producers.acquire(block=True) as producer:
                amqp.send_task_message(producer, TASK_NAME, message, queue=self._queue)
        except (OperationalError, RedisError, OSError) as error:
            raise ServiceUnavailable(one_line(f"Celery's broker: {error}")) from error

    def find_lost(self, envelopes: Sequence[OpenEnvelope], running: int) -> list[OpenEnvelope]:
        """Look for each envelope in the queue and among those that a worker holds; see the port.

        A worker that holds one begins it at once: after a while, that worker is dead.
        """
        try:
            waiting: Any = self._redis.lrange(f"{self._prefix}{self._queue}", 0, MESSAGES_READ)
            held: Any = self._redis.hvals(f"{self._prefix}{UNACKED}")
        except RedisError as error:
            raise ServiceUnavailable(one_line(f"Celery's broker: {error}")) from error
        if len(waiting) > MESSAGES_READ:
            return []
        on_queue, in_hands = set(_ids_of(waiting)), set(_ids_of(held))
        return [
            envelope
            for envelope in envelopes
            if envelope.envelope_id not in on_queue
            and (
                envelope.envelope_id not in in_hands or envelope.age_seconds > HELD_AT_MOST_SECONDS
            )
        ]

    def find_others(self, *, asks_workers: bool) -> list[str]:
        """Return what other applications have on our queues: tasks that wait, and workers.

        Args:
            asks_workers: Also ask every worker what it consumes, for a second.
        """
        names = queue_names(self._queue.removesuffix(JOB_QUEUE))
        found: set[str] = set()
        try:
            for name in names:
                waiting: Any = self._redis.lrange(f"{self._prefix}{name}", 0, LOOKED_AT)
                tasks = {str(headers.get("task")) for headers in _headers_of(waiting)} - OWN_TASKS
                found |= {f"task {one_line(task)[:64]} on {name}" for task in tasks}
            if asks_workers:
                found |= {*self._workers_of_others(names)}
        except (OperationalError, RedisError, OSError) as error:
            raise ServiceUnavailable(one_line(f"Celery's broker: {error}")) from error
        return sorted(found)

    def _workers_of_others(self, names: Sequence[str]) -> Iterator[str]:
        inspect = self._app.control.inspect(timeout=WORKERS_ANSWER_SECONDS)
        consumed = inspect.active_queues() or {}
        taken = {
            worker: [queue["name"] for queue in queues if queue["name"] in names]
            for worker, queues in consumed.items()
        }
        known = (inspect.registered() or {}) if any(taken.values()) else {}
        for worker, queues in taken.items():
            if queues and worker in known and TASK_NAME not in known[worker]:
                yield f"worker {one_line(worker)[:64]} on {', '.join(queues)}"

    def check(self) -> None:
        """Make a round trip to the broker; see the port."""
        try:
            self._redis.ping()
        except RedisError as error:
            raise ServiceUnavailable(one_line(f"Celery's broker: {error}")) from error


def _ids_of(messages: Sequence[str]) -> Iterator[str]:
    for headers in _headers_of(messages):
        with suppress(KeyError):
            yield str(headers["id"])


def _headers_of(messages: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the headers of kombu messages; `unacked` keeps each in a list, with its exchange."""
    for text in messages:
        with suppress(ValueError, TypeError, KeyError, IndexError):
            message = json.loads(text)
            headers = (message[0] if isinstance(message, list) else message)["headers"]
            if isinstance(headers, dict):
                yield headers
