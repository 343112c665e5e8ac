"""The queues of the two runtimes, as a stranger who writes to them sees them."""

import json
from typing import Any

from celery import Celery
from redis import Redis

from local.broker import JOB_QUEUE, TASK_NAME, broker_url
from local.stack import EmbeddedStack
from shared.settings import Settings


class CeleryQueue:
    """Celery's queue on Redis."""

    def __init__(self, settings: Settings) -> None:
        self._producer = Celery(broker=broker_url(settings.redis_url), set_as_current=False)
        self._redis = Redis.from_url(settings.redis_url)

    def send(self, job_id: Any) -> None:
        """Send an envelope that names a job, or what should be one."""
        self._producer.send_task(TASK_NAME, args=[job_id], queue=JOB_QUEUE)

    def send_garbage(self) -> None:
        """Send messages that are no envelopes: an unknown task, a wrong call, a broken body."""
        self._producer.send_task("no_such_task", args=[], queue=JOB_QUEUE)
        self._producer.send_task(TASK_NAME, args=[], queue=JOB_QUEUE)
        self._producer.send_task(TASK_NAME, args=["1", "2", "3"], queue=JOB_QUEUE)

    def length(self) -> int:
        """Return how many messages wait or are in somebody's hands."""
        waiting = int(self._redis.llen(JOB_QUEUE))  # type: ignore[arg-type] # sync client
        held = int(self._redis.hlen("unacked"))  # type: ignore[arg-type] # sync client
        return waiting + held


class SqsQueue:
    """The SQS queue, with its dead letters."""

    def __init__(self, stack: EmbeddedStack) -> None:
        assert stack.sqs is not None
        self._sqs = stack.sqs
        self._client = stack.sqs.client()

    def send(self, job_id: Any) -> None:
        """Send an envelope that names a job, or what should be one."""
        self._send(json.dumps({"job_id": job_id}))

    def send_garbage(self) -> None:
        """Send messages that are no envelopes: no JSON, no object, no job id."""
        for body in ("{not json", "[]", "{}"):
            self._send(body)

    def length(self) -> int:
        """Return how many messages wait or are in somebody's hands."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        answer = self._client.get_queue_attributes(
            QueueUrl=self._sqs.queue_url, AttributeNames=[*names, f"{names[0]}Delayed"]
        )
        return sum(int(value) for value in answer["Attributes"].values())

    def dead_letters(self) -> list[str]:
        """Return the bodies among the dead letters, without taking them."""
        answer = self._client.receive_message(
            QueueUrl=self._sqs.dead_letter_queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    def _send(self, body: str) -> None:
        self._client.send_message(QueueUrl=self._sqs.queue_url, MessageBody=body)
