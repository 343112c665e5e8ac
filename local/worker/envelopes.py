"""What lies on Celery's queue and is no message of its: logged, rejected, and soon forgotten.

Celery rejects what it can read but not run. Anything else ends the worker, which then puts the
message back for the next one to end over. Named by `local.celery_app`.
"""

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu.message import Message
from kombu.transport import redis

from shared.errors import MalformedEnvelope

BROKEN_FORM = (AttributeError, KeyError, TypeError, ValueError)
"""What kombu and Celery stumble over when a message lacks the form that they expect."""

log = structlog.get_logger(__name__)


class EnvelopeChannel(redis.Channel):  # type: ignore[misc] # kombu has no types
    """A channel on which not even JSON is expected."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except ValueError as error:
            _report(error)


class EnvelopeTransport(redis.Transport):  # type: ignore[misc] # kombu has no types
    """Redis as a broker, for `kombu.transport.TRANSPORT_ALIASES`."""

    Channel = EnvelopeChannel

    def _deliver(self, message: Any, queue: str | None) -> None:
        try:
            super()._deliver(message, queue)
        except BROKEN_FORM as error:
            _report(error)


class EnvelopeConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """The consumer of a worker, for the setting `worker_consumer`."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        """Return what takes every message, and rejects the ones that break it."""
        receive = super().create_task_handler(*args, **options)

        def receive_or_reject(message: Message) -> None:
            try:
                receive(message)
            except BROKEN_FORM as error:
                _report(error)
                message.reject_log_error(log, self.connection_errors)

        return receive_or_reject


def _report(error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}"[:200]
    log.error("envelope rejected", code=MalformedEnvelope.code, reason=reason)
