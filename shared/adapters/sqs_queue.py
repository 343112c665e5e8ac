"""Putting envelopes on SQS, and having those that were received come back later."""

import json
import math
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import ServiceUnavailable, one_line
from shared.jobs.release_store import OpenEnvelope
from shared.settings import Settings

DELAY_MAX_SECONDS = 900
"""SQS holds a new message back for 15 minutes at most (SendMessage, DelaySeconds)."""

ALARM = '{"release": true}'
"""A message that has the worker function release jobs."""

_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
"""Messages that wait, and that a function holds; delayed ones are alarms."""

_CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})


class SqsDispatcher:
    """Sends envelopes to QUEUE_URL; implements `shared.jobs.dispatcher.Dispatcher`."""

    def __init__(self, settings: Settings) -> None:
        self._queue_url = settings.queue_url
        self._grace_seconds = settings.dispatch_grace_seconds
        self._client: Any = boto3.client("sqs", config=_CLIENT_CONFIG)

    def dispatch(self, job_id: UUID, envelope_id: str) -> None:
        """Send the envelope; see the port."""
        self._call("send_message", MessageBody=json.dumps({"job_id": str(job_id)}))

    def find_lost(self, envelopes: Sequence[OpenEnvelope], running: int) -> list[OpenEnvelope]:
        """Compare what was sent with what SQS counts; see the port.

        SQS names no messages without receiving them. Where it counts fewer than there must be,
        all may be lost; otherwise those count that have waited for their grace, which doubles
        with each envelope (to 64 times).
        """
        answer = self._call("get_queue_attributes", AttributeNames=list(_COUNTS))
        counted = sum(int(answer["Attributes"][name]) for name in _COUNTS)
        if counted < len(envelopes) + running:
            return list(envelopes)
        return [
            envelope
            for envelope in envelopes
            if envelope.age_seconds > self._grace_seconds * 2 ** min(max(envelope.sends - 1, 0), 6)
        ]

    def send_alarm(self, delay_seconds: float) -> None:
        """Have the worker function release jobs after the delay, 15 minutes at most.

        Raises:
            ServiceUnavailable: SQS did not take it.
        """
        self._call(
            "send_message",
            MessageBody=ALARM,
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
        """Make a round trip to the queue; see the port."""
        self._call("get_queue_attributes", AttributeNames=["QueueArn"])

    def _call(self, operation: str, **parameters: Any) -> Any:
        if self._queue_url is None:
            raise ServiceUnavailable("SQS: QUEUE_URL is not set")
        try:
            return getattr(self._client, operation)(QueueUrl=self._queue_url, **parameters)
        except (BotoCoreError, ClientError) as error:
            raise ServiceUnavailable(one_line(f"SQS: {error}")) from error
