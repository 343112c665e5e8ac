"""Putting envelopes on SQS, and having those that were received come back later."""

import json
import math
from typing import Any
from uuid import UUID

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import ServiceUnavailable
from shared.settings import Settings

DELAY_MAX_SECONDS = 900
"""SQS holds a new message back for 15 minutes at most (SendMessage, DelaySeconds)."""

_CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})


class SqsDispatcher:
    """Sends envelopes to QUEUE_URL; implements `shared.jobs.dispatcher.Dispatcher`."""

    def __init__(self, settings: Settings) -> None:
        self._queue_url = settings.queue_url
        self._client: Any = boto3.client("sqs", config=_CLIENT_CONFIG)

    def dispatch(self, job_id: UUID, task_id: str, delay_seconds: float = 0) -> None:
        """Send the envelope; see the port."""
        self._call(
            "send_message",
            MessageBody=json.dumps({"job_id": str(job_id)}),
            DelaySeconds=min(math.ceil(delay_seconds), DELAY_MAX_SECONDS),
        )

    def redeliver(self, receipt_handle: str, delay_seconds: float) -> None:
        """Have a received message come back after the delay.

        Raises:
            ServiceUnavailable: SQS did not take it; the message stays hidden for the rest of
                the queue's visibility timeout.
        """
        self._call(
            "change_message_visibility",
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=math.ceil(delay_seconds),
        )

    def check(self) -> None:
        """Make a round trip to the queue; see the port. Lambda itself takes from it."""
        self._call("get_queue_attributes", AttributeNames=["QueueArn"])

    def _call(self, operation: str, **parameters: Any) -> None:
        if self._queue_url is None:
            raise ServiceUnavailable("SQS: QUEUE_URL is not set")
        try:
            getattr(self._client, operation)(QueueUrl=self._queue_url, **parameters)
        except (BotoCoreError, ClientError) as error:
            raise ServiceUnavailable(f"SQS: {error}"[:200]) from error
