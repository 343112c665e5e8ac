"""What lies on Celery's queue and is no message of its: logged, rejected, and kept in a table.

Celery rejects what it can read but not run. Anything else ends the worker, which then puts the
message back for the next one to end over. Named by `local.celery_app`.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu.message import Message
from kombu.transport import redis

from shared.errors import MalformedEnvelope, one_line

LEFT_TO_OTHERS_SECONDS = 5.0
"""How long a worker takes nothing from a queue in which it met another application's task."""

BROKEN_FORM = (AttributeError, KeyError, TypeError, ValueError)
"""What kombu and Celery stumble over when a message lacks the form that they expect."""

log = structlog.get_logger(__name__)


class EnvelopeChannel(redis.Channel):  # type: ignore[misc] # kombu has no types
    """A channel on which not even JSON is expected."""

    has_lost_answer = False
    """Whether the end of a message was not noted, which then counts as held for ever."""

    _asked_at = 0.0

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge a message; Celery only logs what is raised here."""
        with self._noting_loss():
            super().basic_ack(delivery_tag, multiple)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject a message."""
        with self._noting_loss():
            super().basic_reject(delivery_tag, requeue)

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        try:
            yield
        except self.connection_errors:
            self.has_lost_answer = True
            raise

    @property
    def silent_seconds(self) -> float:
        """How long Redis has not answered the blocking read; 0 while there is none."""
        return time.monotonic() - self._asked_at if self._in_poll else 0.0

    def _brpop_start(self, timeout: float | None = None) -> None:
        self._asked_at = time.monotonic()
        super()._brpop_start(timeout)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except ValueError as error:
            _report(error, getattr(error, "doc", ""))


class EnvelopeTransport(redis.Transport):  # type: ignore[misc] # kombu has no types
    """Redis as a broker, for `kombu.transport.TRANSPORT_ALIASES`."""

    Channel = EnvelopeChannel

    def _deliver(self, message: Any, queue: str | None) -> None:
        try:
            super()._deliver(message, queue)
        except BROKEN_FORM as error:
            _report(error, json.dumps(message, default=repr))


class EnvelopeConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """The consumer of a worker, for the setting `worker_consumer`.

    Never greets its neighbours nor follows their events (mingle, gossip), whatever the command line
    says. Both read from Redis while it is connected anew, and a child that is replaced meanwhile
    then ends the worker in kombu. They serve to share revoked ids, which here stand in rows.
    """

    def __init__(self, *args: Any, worker_options: Any = None, **options: Any) -> None:
        without = {"without_mingle": True, "without_gossip": True}
        super().__init__(*args, worker_options={**(worker_options or {}), **without}, **options)

    _has_met_others = False

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        """Return what takes every message, and rejects the ones that break it."""
        receive = super().create_task_handler(*args, **options)

        def receive_or_reject(message: Message) -> None:
            try:
                receive(message)
            except BROKEN_FORM as error:
                _report(error, _text_of(message))
                message.reject_log_error(log, self.connection_errors)

        return receive_or_reject

    def on_unknown_message(self, body: Any, message: Message) -> None:
        """Reject a message that is none of Celery's."""
        super().on_unknown_message(body, message)
        _keep("not a message of Celery's", _text_of(message))

    def on_unknown_task(self, body: Any, message: Message, exc: Exception) -> None:
        """Reject a task that is not ours; on the queue of maintenance, leave it to its workers.

        There it goes to the end of the queue, and this worker takes nothing for a while: one that
        held such tasks would have no room for jobs.
        """
        queue, task = message.delivery_info.get("routing_key"), message.headers.get("task")
        if queue != self.app.conf.task_default_queue or not isinstance(task, str):
            super().on_unknown_task(body, message, exc)
            _keep(f"no task {exc}", _text_of(message))
            return
        message.reject_log_error(log, self.connection_errors, requeue=True)
        if not self._has_met_others:
            self._has_met_others = True
            log.warning("another application uses this queue", queue=queue, task=one_line(task))
        if self.task_consumer.consuming_from(queue):
            self.task_consumer.cancel_by_queue(queue)
            self.timer.call_after(LEFT_TO_OTHERS_SECONDS, self._consume_again)

    def _consume_again(self) -> None:
        consumer = self.task_consumer
        queue = self.app.conf.task_default_queue
        if consumer is not None and not consumer.consuming_from(queue):
            consumer.add_queue(self.app.amqp.queues[queue])
            consumer.consume()

    def on_invalid_task(self, body: Any, message: Message, exc: Exception) -> None:
        """Reject a message that calls a task in a wrong way."""
        super().on_invalid_task(body, message, exc)
        _keep(str(exc), _text_of(message))

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Reject a message whose body cannot be read."""
        super().on_decode_error(message, exc)
        _keep(str(exc), _text_of(message))


def _report(error: Exception, body: str) -> None:
    reason = one_line(f"{type(error).__name__}: {error}")
    log.error("envelope rejected", code=MalformedEnvelope.code, reason=reason)
    _keep(reason, body)


def _keep(reason: str, body: str) -> None:
    # A program that sends tasks needs none of this code.
    from local.worker.sweeping import RejectedMessage, report

    report(RejectedMessage(reason, body))


def _text_of(message: Message) -> str:
    body = message.body
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
