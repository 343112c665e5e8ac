"""The queues of the two runtimes, as a stranger who writes to them sees them."""

import json
from typing import TYPE_CHECKING, Any

from celery import Celery
from redis import Redis

from devkit.stack import Stack
from shared.adapters.celery_broker import TASK_NAME, broker_url, queue_names
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BROKEN_BODIES = ("{not json", "[]", "{}", '{"job_id": 5}', '{"job_id": "5"}', '{"job_id": null}')
"""What no envelope looks like."""


class CeleryQueue:
    """Celery's queue on Redis."""

    def __init__(self, settings: Settings) -> None:
        self._producer = Celery(broker=broker_url(settings.redis_url), set_as_current=False)
        self._producer.conf.broker_transport_options = {"global_keyprefix": settings.redis_prefix}
        self._redis = Redis.from_url(settings.redis_url)
        self._queue = queue_names(settings.queue_prefix)[0]
        self._key = f"{settings.redis_prefix}{self._queue}"
        self._held = [f"{settings.redis_prefix}{name}" for name in ("unacked", "unacked_index")]

    def send(self, job_id: Any) -> None:
        """Send an envelope that names a job, or what should be one."""
        self._producer.send_task(TASK_NAME, args=[job_id], queue=self._queue)

    def send_garbage(self) -> int:
        """Send what is no envelope, in all the ways of this queue; return how many."""
        for body in BROKEN_BODIES:
            # No message of Celery's: what comes of `redis-cli lpush image_generation ...`.
            self._redis.lpush(self._key, body)
            # One of Celery's, with this inside.
            self._publish(body)
        for args in ([], ["1", "2", "3"], [5], [None], ["no id"]):
            self._producer.send_task(TASK_NAME, args=args, queue=self._queue)
        self._producer.send_task("no_such_task", queue=self._queue)
        return 2 * len(BROKEN_BODIES) + 6

    def length(self) -> int:
        """Return how many messages wait or are being processed."""
        waiting = int(self._redis.llen(self._key))  # type: ignore[arg-type] # sync client
        held = int(self._redis.hlen(self._held[0]))  # type: ignore[arg-type] # sync client
        return waiting + held

    def clear(self) -> None:
        """Forget all messages, and those that killed workers have left unacknowledged."""
        self._redis.delete(self._key, *self._held)

    def _publish(self, body: str) -> None:
        with self._producer.producer_or_acquire() as producer:
            producer.publish(
                body,
                routing_key=self._queue,
                content_type="application/json",
                content_encoding="utf-8",
                headers={"task": TASK_NAME, "id": "broken"},
            )


class SqsQueue:
    """The SQS queue, with its dead letters."""

    def __init__(self, stack: Stack) -> None:
        assert stack.sqs is not None
        self._sqs = stack.sqs
        self._client = stack.sqs.client()

    def send(self, job_id: Any) -> None:
        """Send an envelope that names a job, or what should be one."""
        self._send(json.dumps({"job_id": job_id}))

    def send_garbage(self) -> int:
        """Send what is no envelope, in all the ways of this queue; return how many."""
        for body in BROKEN_BODIES:
            self._send(body)
        return len(BROKEN_BODIES)

    def length(self) -> int:
        """Return how many messages wait or are being processed."""
        answer = self._client.get_queue_attributes(
            QueueUrl=self._sqs.queue_url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )
        return sum(int(value) for value in answer["Attributes"].values())

    def clear(self) -> None:
        """Forget all messages but those that are hidden just now: they come back later."""
        self._take_all(self._sqs.queue_url)

    def take_dead_letters(self) -> list[str]:
        """Take all dead letters away and return their bodies."""
        return self._take_all(self._sqs.dead_letter_queue_url)

    def _send(self, body: str) -> None:
        self._client.send_message(QueueUrl=self._sqs.queue_url, MessageBody=body)

    def _take_all(self, url: str) -> list[str]:
        bodies = []
        while messages := self._receive(url):
            for message in messages:
                bodies.append(message["Body"])
                self._client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def _receive(self, url: str) -> "list[MessageTypeDef]":
        return self._client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages", []
        )
